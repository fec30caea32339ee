import { SimpleGrid, Stack, Title } from '@mantine/core';
import { Link } from 'react-router';
import { at } from '~/app/places';
import { PageHead } from '~/parts/PageHead';
import { GROUPS } from './groups';

/** All guides. */
export function Component() {
  return (
    <div className="content">
      <PageHead
        title="Help"
        told="Guides of this version, from this server. The guide of a connector stands beside its form."
      />
      <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} spacing="md">
        {GROUPS.map(({ title, pages }) => (
          <section key={title} className="card" style={{ padding: 20 }}>
            <Title order={2} size="h3" mb="sm">
              {title}
            </Title>
            <Stack gap={6} component="ul" className="plain">
              {pages.map((one) => (
                <li key={one.name}>
                  <Link to={at.help(one.name)}>{one.title}</Link>
                </li>
              ))}
            </Stack>
          </section>
        ))}
      </SimpleGrid>
    </div>
  );
}
