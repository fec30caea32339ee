import { ActionIcon, Autocomplete, Badge, Group, Menu, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconArrowRight, IconDots, IconKey, IconPin } from '@tabler/icons-react';
import type { Schemas } from '~/api/client';
import { Empty } from '~/parts/Empty';
import { type Edits, type Field, TYPES } from './questions';

interface Props {
  fields: readonly Field[];
  warnings: readonly Schemas['Warned'][];
  keys: readonly string[];
  asked: Edits;
  /** Left out: whoever looks may not change it. */
  ask: ((edits: Edits) => void) | undefined;
}

const without = (all: Record<string, string>, name: string) =>
  Object.fromEntries(Object.entries(all).filter(([one]) => one !== name));

/** Fields and columns side by side; what is wrong stands below the field, with the way out. */
export function Fields({ fields, warnings, keys, asked, ask }: Props) {
  if (fields.length === 0) return <Empty icon={IconArrowRight} title="No field is like that" />;
  return (
    <div className="card table-scroll">
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
    </div>
  );
}

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
  const takingIn = asked.unignore.includes(name);
  const column = asked.rename[name] ?? field.column ?? '';
  const type = asked.types[name] ?? field.type ?? '';
  const changed =
    name in asked.rename || name in asked.types || asked.free.includes(name) || leavingOut || takingIn;
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
          <Text key={one.code} size="xs" c="var(--look)" mt={2}>
            <IconAlertTriangle size={12} aria-hidden style={{ verticalAlign: -2 }} /> {one.message} {one.hint}
          </Text>
        ))}
        {field.column === null && (
          <Text size="xs" c="dimmed" mt={2}>
            {takingIn ? 'gets a column again' : (field.reason ?? 'no column')}
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
              const now = event.currentTarget.value;
              ask({
                ...asked,
                rename: now === field.column ? without(asked.rename, name) : { ...asked.rename, [name]: now },
              });
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
            onChange={(now) =>
              ask({
                ...asked,
                free: asked.free.filter((one) => one !== name),
                types: now === field.type ? without(asked.types, name) : { ...asked.types, [name]: now },
              })
            }
          />
        ) : (
          <span className="mono">{mapped ? type : ''}</span>
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
              {changed && (
                <Menu.Item
                  onClick={() =>
                    ask({
                      ...asked,
                      rename: without(asked.rename, name),
                      types: without(asked.types, name),
                      free: asked.free.filter((one) => one !== name),
                      ignore: asked.ignore.filter((one) => one !== name),
                      unignore: asked.unignore.filter((one) => one !== name),
                    })
                  }
                >
                  Undo my changes
                </Menu.Item>
              )}
              {field.column !== null && !leavingOut && (
                <Menu.Item
                  onClick={() =>
                    ask({
                      ...asked,
                      rename: without(asked.rename, name),
                      types: without(asked.types, name),
                      ignore: [...asked.ignore, name],
                    })
                  }
                >
                  Leave out
                </Menu.Item>
              )}
              {field.column === null && !takingIn && (
                <Menu.Item onClick={() => ask({ ...asked, unignore: [...asked.unignore, name] })}>
                  Give it a column
                </Menu.Item>
              )}
              {field.fixed && !asked.free.includes(name) && (
                <Menu.Item
                  onClick={() =>
                    ask({ ...asked, types: without(asked.types, name), free: [...asked.free, name] })
                  }
                >
                  Let the type follow its values
                </Menu.Item>
              )}
              {mapped && (
                <Menu.Item
                  onClick={() =>
                    ask({
                      ...asked,
                      key: isKey
                        ? keys.filter((one) => one !== name)
                        : [...keys.filter((one) => !one.startsWith('__')), name],
                    })
                  }
                >
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
