import { Button, Skeleton, Stack } from '@mantine/core';
import { IconBellOff } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay, whoQuery } from '~/api/session';
import { at } from '~/app/places';
import { useAddress } from '~/parts/address';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { useReversible, useSeen } from '~/parts/reversible';
import { sentence } from '~/words/statuses';
import { channelsQuery, preferencesQuery } from './questions';
import { Wishes } from './Wishes';
import { type Change, changed, opposite, type Wanted } from './wishes';

type Channel = Schemas['Channel'];

/** They are a list, or a text with commas. */
const hasAddresses = ({ config: { to } }: Channel) => String(to ?? '') !== '';

/** What somebody gets mail about, and what goes to each channel of the team. */
export function Component() {
  const may = useMay();
  const [asked] = useAddress();
  const { data: who } = useQuery(whoQuery);
  const channels = useQuery(channelsQuery);
  if (channels.error) return <ErrorNote error={channels.error} again={() => void channels.refetch()} />;
  if (!channels.data || !who) return <Skeleton height={320} />;
  const of = asked.get('of');
  const editable = may('settings.edit');
  if (channels.data.length === 0) {
    return (
      <div className="card">
        <Empty
          icon={IconBellOff}
          title="Nobody is told yet"
          action={
            editable && (
              <Button component={Link} to={at.channels}>
                Add a channel
              </Button>
            )
          }
        >
          Alerts go out by channels: mail, Slack, PagerDuty and others. Once there is one, you choose here
          what it tells, and when it is quiet.
        </Empty>
      </div>
    );
  }
  return (
    <Stack maw={780}>
      <Mail
        key={of}
        email={of === who.user.email ? null : of}
        arrives={channels.data.some(
          (one) => one.enabled && one.kind === 'email' && one.config.members !== false,
        )}
      />
      {!of &&
        channels.data
          // Mail to members alone is what each of them chooses.
          .filter((one) => one.kind !== 'email' || hasAddresses(one))
          .map((one) => <OfChannel key={one.id} channel={one} editable={editable} />)}
    </Stack>
  );
}

/** `arrives`: whether any channel sends mail to members. */
function Mail({ email, arrives }: { email: string | null; arrives: boolean }) {
  const may = useMay();
  const client = useQueryClient();
  const seen = useSeen();
  const query = preferencesQuery(email);
  const found = useQuery(query);
  const save = useReversible<Change, unknown>({
    // What stands there when its turn comes: others may have gone before.
    ask: async (change) => {
      const now = await client.ensureQueryData(query);
      return body(
        api.PUT('/api/millrace/v1/alert-preferences', { body: { wanted: changed(now, change), email } }),
      );
    },
    said: () => `What ${email ?? 'you'} ${email ? 'is' : 'are'} told is saved`,
    seen: (change) => seen<Wanted>(query.queryKey, (kept) => changed(kept, change)),
    of: `mail of ${email}`,
    stale: ['alert-preferences'],
  });
  if (found.error) return <ErrorNote error={found.error} again={() => void found.refetch()} />;
  if (!found.data) return <Skeleton height={320} />;
  const wanted = found.data;
  return (
    <Wishes
      title={email ? `Mail to ${email}` : 'Mail to me'}
      told={
        arrives ? (
          `Every channel of the kind Email brings it, at ${email ? 'that' : 'your'} address.`
        ) : (
          <>
            No <Link to={at.channels}>channel</Link> sends mail to members of the team now: this holds once
            one does.
          </>
        )
      }
      wanted={wanted}
      // Of usage only those are told who may see it.
      never={email || may('usage.view') ? [] : ['usage']}
      editable={email === null || may('users.edit')}
      change={(to) => save.mutate({ to, from: opposite(wanted, to) })}
      error={save.error}
    />
  );
}

function OfChannel({ channel, editable }: { channel: Channel; editable: boolean }) {
  const client = useQueryClient();
  const seen = useSeen();
  const { name } = channel;
  const save = useReversible<Change, Channel>({
    ask: async (change) => {
      const now = (await client.ensureQueryData(channelsQuery)).find((one) => one.name === name) ?? channel;
      return body(
        api.PUT('/api/millrace/v1/alert-channels/{name}', {
          params: { path: { name } },
          body: { wanted: changed(now.wanted, change) },
        }),
      );
    },
    said: () => `What ${name} tells is saved`,
    seen: (change) =>
      seen<Channel[]>(['channels'], (kept) =>
        kept.map((one) => (one.name === name ? { ...one, wanted: changed(one.wanted, change) } : one)),
      ),
    of: 'channels',
    stale: ['channels'],
  });
  return (
    <Wishes
      title={name}
      told={
        <>
          What the team is told by{' '}
          {channel.kind === 'email' ? 'mail to the addresses of the channel' : sentence(channel.kind)}.
          {!channel.enabled && (
            <>
              {' '}
              It is off: <Link to={at.channels}>Channels</Link>
            </>
          )}
        </>
      }
      wanted={channel.wanted}
      editable={editable}
      change={(to) => save.mutate({ to, from: opposite(channel.wanted, to) })}
      error={save.error}
    />
  );
}
