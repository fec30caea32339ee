import {
  ActionIcon,
  Alert,
  Button,
  CopyButton,
  Menu,
  Modal,
  MultiSelect,
  Stack,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { IconAlertTriangle, IconDots, IconSearch, IconUserPlus, IconUsers } from '@tabler/icons-react';
import {
  keepPreviousData,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Link } from 'react-router';
import { api, body, type Schemas } from '~/api/client';
import { useMay, whoQuery } from '~/api/session';
import { at } from '~/app/places';
import { Ago } from '~/parts/Ago';
import { useSought } from '~/parts/address';
import { Confirm } from '~/parts/Confirm';
import { Copyable } from '~/parts/Copy';
import { type Column, DataTable } from '~/parts/DataTable';
import { Empty } from '~/parts/Empty';
import { ErrorNote } from '~/parts/ErrorNote';
import { done, failed } from '~/parts/notices';
import { PageHead } from '~/parts/PageHead';
import { paged } from '~/parts/paged';
import { Reasons } from '~/parts/Refused';
import { useReversible } from '~/parts/reversible';
import { some } from '~/words/numbers';
import { sentence } from '~/words/statuses';

type User = Schemas['User'];
type Role = User['roles'][number];
type Asked = { what: 'roles' | 'remove' | 'factor'; user: User } | { what: 'invite' | 'name' };

const linkOf = (link: Schemas['Link']) =>
  `${window.location.origin}/${link.purpose === 'invite' ? 'join' : 'reset'}#${link.token}`;

/** Who is in the team, and what each may do. */
export function Component() {
  const may = useMay();
  const client = useQueryClient();
  const { data: who } = useQuery(whoQuery);
  const [asked, ask] = useState<Asked | null>(null);
  const [link, setLink] = useState<Schemas['Link'] | null>(null);
  const [several, show] = useState<Schemas['Invited'][] | null>(null);
  const given = (invited: Schemas['Invited'][]) => {
    const [first, ...others] = invited;
    if (first?.link && others.length === 0) setLink(first.link);
    else show(invited);
  };
  const [text, type, search] = useSought();
  const users = useInfiniteQuery({
    queryKey: ['users', search],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam }) =>
      body(
        api.GET('/api/millrace/v1/users', {
          params: { query: { search: search || null, after: pageParam, limit: 100 } },
        }),
      ),
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
  });
  const renew = useMutation({
    mutationFn: (email: string) =>
      body(api.POST('/api/millrace/v1/users/{email}/link', { params: { path: { email } } })),
    onSuccess: setLink,
    onError: failed,
  });
  const unlock = useMutation({
    mutationFn: (email: string) =>
      body(api.POST('/api/millrace/v1/users/{email}/unlock', { params: { path: { email } } })),
    onSuccess: (user) => done(`${user.email} may sign in again`),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ['users'] }),
  });
  const editable = may('users.edit');
  const { mutate: renewFor } = renew;
  const { mutate: unlockFor } = unlock;
  const columns = useMemo<Column<User>[]>(
    () => [
      {
        id: 'name',
        header: 'Who',
        cell: (row) => (
          <div>
            <Text fw={500} size="sm">
              {row.name || row.email}
            </Text>
            {row.name && (
              <Text size="xs" c="dimmed">
                {row.email}
              </Text>
            )}
          </div>
        ),
      },
      { id: 'roles', header: 'Roles', cell: (row) => row.roles.map(sentence).join(', ') },
      {
        id: 'factor',
        header: 'Second factor',
        width: 120,
        hide: 'phone',
        cell: (row) => (row.two_factor ? 'on' : 'off'),
      },
      {
        id: 'seen',
        header: 'Signed in',
        width: 150,
        hide: 'phone',
        cell: (row) =>
          row.status === 'active' ? <Ago at={row.signed_in_at} none="not yet" /> : sentence(row.status),
      },
      ...(editable
        ? [
            {
              id: 'do',
              header: '',
              width: 48,
              cell: (row: User) => (
                <Menu>
                  <Menu.Target>
                    <ActionIcon aria-label={`Actions of ${row.email}`}>
                      <IconDots size={16} />
                    </ActionIcon>
                  </Menu.Target>
                  <Menu.Dropdown>
                    <Menu.Item onClick={() => ask({ what: 'roles', user: row })}>Change roles</Menu.Item>
                    {row.status === 'active' && (
                      <Menu.Item component={Link} to={at.told(row.email)}>
                        What they are told
                      </Menu.Item>
                    )}
                    <Menu.Item onClick={() => renewFor(row.email)}>
                      {row.status === 'active' ? 'Link for another password' : 'Another invitation link'}
                    </Menu.Item>
                    {row.two_factor && (
                      <Menu.Item onClick={() => ask({ what: 'factor', user: row })}>
                        Lost their second factor
                      </Menu.Item>
                    )}
                    {row.locked_until && <Menu.Item onClick={() => unlockFor(row.email)}>Unlock</Menu.Item>}
                    <Menu.Item color="red" onClick={() => ask({ what: 'remove', user: row })}>
                      Remove
                    </Menu.Item>
                  </Menu.Dropdown>
                </Menu>
              ),
            },
          ]
        : []),
    ],
    [editable, renewFor, unlockFor],
  );
  return (
    <div className="content">
      <PageHead
        title="Team"
        told={who?.team.name}
        actions={
          <>
            {may('settings.edit') && (
              <Button variant="default" onClick={() => ask({ what: 'name' })}>
                Rename the team
              </Button>
            )}
            {editable && (
              <Button leftSection={<IconUserPlus size={16} />} onClick={() => ask({ what: 'invite' })}>
                Invite people
              </Button>
            )}
          </>
        }
      />
      <TextInput
        mb="sm"
        w={{ base: '100%', xs: 240 }}
        aria-label="Search people"
        placeholder="Name or address"
        leftSection={<IconSearch size={16} />}
        data-search
        value={text}
        onChange={(event) => type(event.currentTarget.value)}
      />
      <div className="card">
        <DataTable
          label="People of the team"
          columns={columns}
          {...paged(users)}
          id={(row) => row.email}
          empty={<Empty icon={IconUsers} title={search ? 'Nobody is called so' : 'Nobody is here yet'} />}
        />
      </div>
      {asked?.what === 'invite' && <Invite close={() => ask(null)} made={given} />}
      {asked?.what === 'name' && who && <Rename name={who.team.name} close={() => ask(null)} />}
      {asked?.what === 'factor' && (
        <Confirm
          title={`Let ${asked.user.email} in without a second factor`}
          verb="Take it away"
          close={() => ask(null)}
          act={async () => {
            const path = { email: asked.user.email };
            await body(api.POST('/api/millrace/v1/users/{email}/second-factor/reset', { params: { path } }));
            done(`The second factor of ${asked.user.email} is off`);
            await client.invalidateQueries({ queryKey: ['users'] });
          }}
        >
          Their password alone is enough then, to come in or to set up another one. Be sure that it is they
          who ask.
        </Confirm>
      )}
      {asked?.what === 'roles' && <Roles user={asked.user} close={() => ask(null)} />}
      {asked?.what === 'remove' && (
        <Confirm
          title={`Remove ${asked.user.email}`}
          verb="Remove"
          close={() => ask(null)}
          act={async () => {
            await body(
              api.DELETE('/api/millrace/v1/users/{email}', { params: { path: { email: asked.user.email } } }),
            );
            done(`${asked.user.email} is removed`);
            await client.invalidateQueries({ queryKey: ['users'] });
          }}
        >
          Their sessions end and their API keys stop working. What they made stays.
        </Confirm>
      )}
      {several && <Links invited={several} close={() => show(null)} />}
      {link && (
        <Modal
          opened
          onClose={() => setLink(null)}
          closeOnClickOutside={false}
          title={<Text fw={600}>A link for {link.email}</Text>}
          closeButtonProps={{ 'aria-label': 'Close' }}
        >
          <Text mb="sm">Give it to them. It is good once, and is shown this once.</Text>
          <Copyable text={linkOf(link)} label="the link" />
        </Modal>
      )}
    </div>
  );
}

/** Another name for the team, which can be taken back. */
function Rename({ name, close }: { name: string; close: () => void }) {
  const [now, set] = useState(name);
  const save = useReversible<string, unknown>({
    ask: (to) => body(api.PUT('/api/millrace/v1/team', { body: { name: to } })),
    said: (_, to) => `The team is called ${to} now`,
    stale: ['who', 'team'],
  });
  return (
    <Confirm
      title="Rename the team"
      verb="Rename"
      harmless
      close={close}
      act={() => save.mutateAsync({ to: now.trim(), from: name })}
    >
      <TextInput
        label="Name"
        required
        data-autofocus
        value={now}
        onChange={(event) => set(event.currentTarget.value)}
      />
    </Confirm>
  );
}

function useRoles() {
  return useQuery({
    queryKey: ['roles'],
    queryFn: () => body(api.GET('/api/millrace/v1/roles')),
    staleTime: Number.POSITIVE_INFINITY,
  });
}

function RolesInput({ value, change }: { value: Role[]; change: (roles: Role[]) => void }) {
  const roles = useRoles();
  const allows = new Map<string, readonly string[]>(roles.data?.map((one) => [one.role, one.permissions]));
  const gathered = [...new Set(value.flatMap((role) => allows.get(role) ?? []))].sort();
  return (
    <MultiSelect
      label="Roles"
      description={gathered.length > 0 && `Together: ${gathered.join(', ')}`}
      required
      renderOption={({ option }) => (
        <div>
          <Text size="sm">{option.label}</Text>
          <Text size="xs" c="dimmed">
            {allows.get(option.value)?.join(', ')}
          </Text>
        </div>
      )}
      data={roles.data?.map(({ role }) => ({ value: role, label: sentence(role) })) ?? []}
      value={value}
      onChange={(now) => change(now as Role[])}
    />
  );
}

/** Addresses as people list them: one a line, or with commas, semicolons or spaces between. */
const addresses = (text: string): string[] => [
  ...new Map(text.split(/[\s,;]+/).flatMap((one) => (one ? [[one.toLowerCase(), one]] : []))).values(),
];

function Invite({ close, made }: { close: () => void; made: (invited: Schemas['Invited'][]) => void }) {
  const client = useQueryClient();
  const [text, type] = useState('');
  const [roles, setRoles] = useState<Role[]>(['OBSERVER']);
  const emails = addresses(text);
  const invite = useMutation({
    mutationFn: async (): Promise<Schemas['Invited'][]> => {
      const [email, ...others] = emails;
      if (email !== undefined && others.length === 0) {
        const link = await body(api.POST('/api/millrace/v1/invitations', { body: { email, roles } }));
        return [{ email: link.email, link, problem: null }];
      }
      return body(api.POST('/api/millrace/v1/invitations/several', { body: { emails, roles } }));
    },
    onSuccess: (invited) => {
      void client.invalidateQueries({ queryKey: ['users'] });
      close();
      made(invited);
    },
  });
  return (
    <Modal
      opened
      onClose={close}
      title={<Text fw={600}>Invite people</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (emails.length > 0) invite.mutate();
        }}
      >
        <Stack>
          <Textarea
            label="E-mail addresses"
            description="Of one person or of several: one a line, or with commas between"
            required
            data-autofocus
            autosize
            minRows={2}
            maxRows={8}
            value={text}
            onChange={(event) => type(event.currentTarget.value)}
          />
          <RolesInput value={roles} change={setRoles} />
          <ErrorNote error={invite.error} />
          <Button type="submit" loading={invite.isPending} disabled={emails.length === 0}>
            {emails.length > 1 ? `Make ${emails.length} invitation links` : 'Make an invitation link'}
          </Button>
        </Stack>
      </form>
    </Modal>
  );
}

/** The links of several, and who could not be invited. */
function Links({ invited, close }: { invited: readonly Schemas['Invited'][]; close: () => void }) {
  const links = invited.flatMap(({ link }) => (link ? [link] : []));
  const refused = invited.flatMap(({ email, problem }) => (problem ? [{ name: email, problem }] : []));
  return (
    <Modal
      opened
      onClose={close}
      closeOnClickOutside={false}
      size={620}
      title={<Text fw={600}>{`${some(links.length, 'person', 'people')} of ${invited.length} invited`}</Text>}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Stack>
        {refused.length > 0 && (
          <Alert color="red" variant="light" role="alert" icon={<IconAlertTriangle size={20} />}>
            <Reasons of={refused} />
          </Alert>
        )}
        {links.length > 0 && (
          <>
            <Text>Give each their link. It is good once, and is shown this once.</Text>
            {links.map((link) => (
              <section key={link.email} aria-label={`Link of ${link.email}`}>
                <Text size="sm" fw={500} mb={4}>
                  {link.email}
                </Text>
                <Copyable text={linkOf(link)} label={`the link of ${link.email}`} />
              </section>
            ))}
            <CopyButton value={links.map((link) => `${link.email} ${linkOf(link)}`).join('\n')}>
              {({ copied, copy }) => (
                <Button variant="default" onClick={copy}>
                  {copied ? 'Copied' : 'Copy all, with their addresses'}
                </Button>
              )}
            </CopyButton>
          </>
        )}
      </Stack>
    </Modal>
  );
}

function Roles({ user, close }: { user: User; close: () => void }) {
  const { email } = user;
  const [roles, setRoles] = useState<Role[]>([...user.roles]);
  const save = useReversible<Role[], unknown>({
    ask: (to) =>
      body(
        api.PUT('/api/millrace/v1/users/{email}/roles', { params: { path: { email } }, body: { roles: to } }),
      ),
    said: () => `The roles of ${email} are saved`,
    stale: ['users'],
  });
  return (
    <Confirm
      title={`Roles of ${email}`}
      verb="Save roles"
      harmless
      close={close}
      act={() => save.mutateAsync({ to: roles, from: [...user.roles] })}
    >
      <RolesInput value={roles} change={setRoles} />
    </Confirm>
  );
}
