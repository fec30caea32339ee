import { Button, Group, Paper, SimpleGrid, Stack, Text, ThemeIcon, Title } from '@mantine/core';
import { IconFlask, IconPlugConnected } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from 'react-router';
import { api, body } from '~/api/client';
import { at } from '~/app/places';
import { ErrorNote } from '~/parts/ErrorNote';
import { PageHead } from '~/parts/PageHead';

/** The first choice after the first account: look around with invented data, or begin with one's own. */
export function Component() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const simulate = useMutation({
    mutationFn: () => body(api.POST('/api/millrace/v1/simulation')),
    onSuccess: async ({ pipeline }) => {
      await client.invalidateQueries();
      navigate(at.pipeline(pipeline));
    },
  });
  return (
    <div className="content" data-narrow>
      <PageHead title="How do you want to begin?" name="Begin" told="You can do the other one at any time." />
      <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md">
        <Paper className="card" p="xl">
          <Stack gap="sm" h="100%">
            <Group gap="sm">
              <ThemeIcon variant="light" size={40}>
                <IconFlask size={22} />
              </ThemeIcon>
              <Title order={2}>Try it with simulated data</Title>
            </Group>
            <Text c="dimmed" flex={1}>
              A stand-in for CleverTap runs beside this server and makes up a shop with its customers. A
              finished pipeline loads it into a DuckDB file, and new events keep coming. Nothing leaves this
              machine.
            </Text>
            <Button size="md" fullWidth loading={simulate.isPending} onClick={() => simulate.mutate()}>
              Try it
            </Button>
          </Stack>
        </Paper>
        <Paper className="card" p="xl">
          <Stack gap="sm" h="100%">
            <Group gap="sm">
              <ThemeIcon variant="light" size={40}>
                <IconPlugConnected size={22} />
              </ThemeIcon>
              <Title order={2}>Connect my data</Title>
            </Group>
            <Text c="dimmed" flex={1}>
              Choose a source, say how to reach it and where its rows go. Each step tells what it needs and
              where to find it, and you can leave at any step and go on later.
            </Text>
            <Button size="md" fullWidth variant="default" component={Link} to={at.newPipeline}>
              Create pipeline
            </Button>
          </Stack>
        </Paper>
      </SimpleGrid>
      <div style={{ marginTop: 16 }}>
        <ErrorNote error={simulate.error} again={() => simulate.mutate()} />
      </div>
    </div>
  );
}
