import { ActionIcon, Autocomplete, Badge, Button, Group, Menu, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconArrowRight, IconDots, IconKey, IconPin } from '@tabler/icons-react';
import type { Schemas } from '~/api/client';
import { Empty } from '~/parts/Empty';
import { Scroll } from '~/parts/Scroll';
import { Told } from '~/parts/Told';
import {
  bringsOf,
  type Edits,
  freed,
  ignored,
  isChanged,
  keyed,
  placed,
  renamed,
  typed,
  undone,
} from './changes';
import { type Field, TYPES } from './questions';

interface Props {
  fields: readonly Field[];
  warnings: readonly Schemas['Warned'][];
  keys: readonly string[];
  asked: Edits;
  /** Left out: whoever looks may not change it. */
  ask: ((edits: Edits) => void) | undefined;
}

/** Fields and columns side by side; what is wrong stands below the field, with the way out. */
export function Fields({ fields, warnings, keys, asked, ask }: Props) {
  if (fields.length === 0) return <Empty icon={IconArrowRight} title="No field is like that" />;
  return (
    <Scroll label="Fields and their columns" className="card">
      <table className="table mapper" aria-label="Fields and their columns">
        <thead>
          <tr>
            <th scope="col">Source field</th>
            <th aria-hidden style={{ width: 32 }} />
            <th scope="col">Column</th>
            <th scope="col" style={{ width: 200 }}>
              Type
            </th>
            <th scope="col" style={{ width: 140 }}>
              At the destination
            </th>
            <th scope="col" style={{ width: 48 }}>
              <span className="sr">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {fields.map((field) => (
            <Line
              key={field.field}
              field={field}
              warned={warnings.filter((one) => one.field === field.field)}
              isKey={keys.includes(field.field)}
              asked={asked}
              ask={ask}
              keys={keys}
            />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** Why a field has no column. */
const REASONS: Record<string, string> = {
  IGNORED: 'left out',
  UNMAPPED_FIELD: 'no column yet',
  COLUMN_LIMIT: 'no room for its column',
  NAME_CONFLICT: 'no free name for its column',
};

interface LineProps {
  field: Field;
  warned: readonly Schemas['Warned'][];
  isKey: boolean;
  keys: readonly string[];
  asked: Edits;
  ask: Props['ask'];
}

function Line({ field, warned, isKey, keys, asked, ask }: LineProps) {
  const name = field.field;
  const leavingOut = asked.ignore.includes(name);
  const takingIn = field.column === null && (asked.unignore.includes(name) || name in asked.types);
  const column = asked.rename[name] ?? field.column ?? '';
  const type = asked.types[name] ?? field.type ?? '';
  const changed = isChanged(asked, name);
  const mapped = field.column !== null && !leavingOut;
  return (
    <tr data-selected={changed ? '' : undefined}>
      <td>
        <Group gap={6} wrap="nowrap">
          <span className="mono" style={{ textDecoration: leavingOut ? 'line-through' : undefined }}>
            {name}
          </span>
          {isKey && <IconKey size={14} color="var(--accent)" aria-label="key" />}
        </Group>
        {warned.map((one) => (
          <div key={one.code}>
            <Text size="xs" c="var(--look)" mt={2}>
              <IconAlertTriangle size={12} aria-hidden style={{ verticalAlign: -2 }} />{' '}
              <Told text={`${one.message} ${one.hint}`} />
            </Text>
            {ask && !changed && <WayOut field={field} warned={one} asked={asked} ask={ask} />}
          </div>
        ))}
        {field.column === null && (
          <Text size="xs" c="dimmed" mt={2}>
            {takingIn ? 'gets a column' : (REASONS[field.reason ?? ''] ?? 'no column')}
          </Text>
        )}
      </td>
      <td aria-hidden>{mapped && <IconArrowRight size={14} color="var(--muted)" />}</td>
      <td>
        {mapped && ask ? (
          <TextInput
            size="xs"
            aria-label={`Column of ${name}`}
            classNames={{ input: 'mono' }}
            value={column}
            onChange={(event) => {
              ask(renamed(asked, name, field.column, event.currentTarget.value));
            }}
          />
        ) : (
          <span className="mono">{mapped ? column : ''}</span>
        )}
      </td>
      <td>
        {mapped && ask && !field.key ? (
          <Autocomplete
            size="xs"
            aria-label={`Type of ${name}`}
            classNames={{ input: 'mono' }}
            value={type}
            data={TYPES}
            filter={({ options }) => options}
            rightSection={
              (field.fixed || name in asked.types) && <IconPin size={14} aria-label="this type stays" />
            }
            onChange={(now) => ask(typed(asked, name, field.type, now))}
          />
        ) : (
          <span className="mono" style={{ paddingLeft: ask && mapped ? 11 : undefined }}>
            {mapped ? type : ''}
          </span>
        )}
      </td>
      <td className="mono">
        {field.present ??
          (mapped ? (
            <Badge size="sm" variant="light">
              new
            </Badge>
          ) : (
            ''
          ))}
      </td>
      <td>
        {ask && (
          <Menu>
            <Menu.Target>
              <ActionIcon size={28} aria-label={`Actions for ${name}`}>
                <IconDots size={16} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              {changed && <Menu.Item onClick={() => ask(undone(asked, name))}>Undo my changes</Menu.Item>}
              {field.column !== null && !leavingOut && (
                <Menu.Item onClick={() => ask(ignored(asked, name))}>Leave out</Menu.Item>
              )}
              {field.column === null && !takingIn && (
                <Menu.Item onClick={() => ask(placed(asked, field))}>Give it a column</Menu.Item>
              )}
              {field.fixed && !asked.free.includes(name) && (
                <Menu.Item onClick={() => ask(freed(asked, name))}>Let the type follow its values</Menu.Item>
              )}
              {mapped && (
                <Menu.Item onClick={() => ask(keyed(asked, keys, name))}>
                  {isKey ? 'Take out of the key' : 'Make it part of the key'}
                </Menu.Item>
              )}
            </Menu.Dropdown>
          </Menu>
        )}
      </td>
    </tr>
  );
}

interface WayOutProps {
  field: Field;
  warned: Schemas['Warned'];
  asked: Edits;
  ask: (edits: Edits) => void;
}

/** What mends a warning with one click. It is asked for like every change: nothing is made before it was looked at. */
function WayOut({ field, warned, asked, ask }: WayOutProps) {
  const name = field.field;
  const brings = bringsOf(warned.message);
  const ways: [words: string, edits: Edits][] =
    field.column === null
      ? [
          ['Give it a column', placed(asked, field)],
          ['Leave it out', ignored(asked, name)],
        ]
      : [
          ...(brings && brings !== field.type
            ? ([[`Make the column ${brings}`, typed(asked, name, field.type, brings)]] as [string, Edits][])
            : []),
          ...(field.fixed ? ([['Let the type follow', freed(asked, name)]] as [string, Edits][]) : []),
          ...(field.type === 'VARCHAR' || brings === 'VARCHAR'
            ? []
            : ([['Keep it as text', typed(asked, name, field.type, 'VARCHAR')]] as [string, Edits][])),
        ];
  return (
    <Group gap={6} mt={4}>
      {ways.map(([words, edits]) => (
        <Button
          key={words}
          size="compact-xs"
          variant="default"
          aria-label={`${words}: ${name}`}
          onClick={() => ask(edits)}
        >
          {words}
        </Button>
      ))}
    </Group>
  );
}
