import {
  Group,
  Paper,
  SegmentedControl,
  SimpleGrid,
  Skeleton,
  Text,
  TextInput,
  UnstyledButton,
} from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { useAddress, useSought } from '~/parts/address';
import { ErrorNote } from '~/parts/ErrorNote';
import { CATEGORIES, type Category, categoryOf, iconOf } from './categories';

/** All sources that there are, by what kind of system they are. */
export function Catalogue() {
  const [asked, set] = useAddress();
  const [search, type] = useSought();
  const destination = asked.get('destination');
  const category = (asked.get('kind') ?? 'all') as Category | 'all';
  const types = useQuery({
    queryKey: ['connectors', 'sources'],
    queryFn: () => body(api.GET('/api/millrace/v1/connectors/sources')),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const words = search.toLowerCase();
  const found = types.data?.filter(
    (one) =>
      (category === 'all' || categoryOf(one.type) === category) &&
      `${one.title} ${one.type}`.toLowerCase().includes(words),
  );
  const present = new Set(types.data?.map((one) => categoryOf(one.type)));
  return (
    <>
      <Group mb="md" gap="sm">
        <TextInput
          leftSection={<IconSearch size={16} />}
          placeholder="Search sources"
          aria-label="Search sources"
          data-search
          value={search}
          autoFocus
          onChange={(event) => type(event.currentTarget.value)}
        />
        {present.size > 1 && (
          <SegmentedControl
            size="xs"
            aria-label="Kind of source"
            value={category}
            onChange={(value) => set({ kind: value === 'all' ? null : value })}
            data={[
              { value: 'all', label: 'All' },
              ...CATEGORIES.filter(({ category }) => present.has(category)).map(({ category, label }) => ({
                value: category,
                label,
              })),
            ]}
          />
        )}
      </Group>
      <ErrorNote error={types.error} again={() => void types.refetch()} />
      <SimpleGrid cols={{ base: 1, xs: 2, md: 3 }} spacing="sm">
        {types.isPending && [1, 2, 3, 4, 5, 6].map((one) => <Skeleton key={one} height={76} />)}
        {found?.map((one) => {
          const Icon = iconOf(one.type);
          return (
            <UnstyledButton
              key={one.type}
              component={Link}
              to={`${at.newPipeline}?${new URLSearchParams({ type: one.type, ...(destination && { destination }) })}`}
            >
              <Paper className="card tile" p="md">
                <Group wrap="nowrap">
                  <Icon size={24} stroke={1.5} color="var(--accent)" aria-hidden />
                  <div>
                    <Text fw={600}>{one.title}</Text>
                    <Text size="xs" c="dimmed">
                      {CATEGORIES.find(({ category }) => category === categoryOf(one.type))?.label}
                    </Text>
                  </div>
                </Group>
              </Paper>
            </UnstyledButton>
          );
        })}
      </SimpleGrid>
      {found?.length === 0 && <Text c="dimmed">No source has that name.</Text>}
    </>
  );
}
