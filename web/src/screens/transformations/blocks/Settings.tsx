import {
  ActionIcon,
  Button,
  Drawer,
  Group,
  NumberInput,
  Select,
  Stack,
  Switch,
  Text,
  TextInput,
} from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { sentence } from '~/words/statuses';
import type { Catalogue, Property } from './catalogue';
import type { Block, Filter } from './chain';

interface Props {
  block: Block;
  catalogue: Catalogue;
  fields: readonly string[];
  change: (block: Block) => void;
  remove: () => void;
  close: () => void;
}

const ALONE = [
  'IS_NULL',
  'IS_NOT_NULL',
  'IS_TRUE',
  'IS_FALSE',
  'HAS_FIELD',
  'DOES_NOT_HAVE_FIELD',
  'IS_EMPTY',
  'IS_NOT_EMPTY',
];

/** What a block is told, drawn from its JSON Schema: which events and fields it is for, and its settings. */
export function Settings({ block, catalogue, fields, change, remove, close }: Props) {
  const kind = catalogue.kinds[block.type];
  const condition = Array.isArray(block.condition) ? { all: block.condition } : block.condition;
  return (
    <Drawer
      opened
      onClose={close}
      position="right"
      size={440}
      transitionProps={{ duration: 0 }}
      overlayProps={{ backgroundOpacity: 0.1 }}
      closeButtonProps={{ 'aria-label': 'Close' }}
      title={
        <Text fw={600} size="lg" component="h2">
          {kind?.label ?? block.type}
        </Text>
      }
    >
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {kind?.told}
        </Text>
        {Object.entries(kind?.settings ?? {}).map(([name, property]) => (
          <Setting
            key={name}
            name={name}
            property={property}
            required={kind?.required.includes(name) ?? false}
            value={block.settings?.[name]}
            change={(value) => {
              const settings = { ...block.settings };
              if (value === undefined) delete settings[name];
              else settings[name] = value;
              change({ ...block, settings });
            }}
          />
        ))}
        {block.type === 'IF_ELSE' && (
          <Filters
            label="Condition"
            told={`Events for which ${condition?.any ? 'one' : 'all'} of these hold go through the first branch.`}
            ons={['EVENT_TYPE', 'EVENT_FIELD']}
            operators={catalogue.operators}
            fields={fields}
            filters={condition?.any ?? condition?.all ?? []}
            change={(filters) =>
              change({ ...block, condition: condition?.any ? { any: filters } : { all: filters } })
            }
          />
        )}
        <Filters
          label="Which events"
          told="All of these must hold; none: every event. Others pass unchanged."
          ons={['EVENT_TYPE', 'EVENT_FIELD']}
          operators={catalogue.operators}
          fields={fields}
          filters={block.event_filters ?? []}
          change={(event_filters) => change({ ...block, event_filters })}
        />
        {kind?.hasFieldFilters && (
          <Filters
            label="Which fields"
            told="All of these must hold; none: every field."
            ons={['FIELD_NAME', 'FIELD_VALUE']}
            operators={catalogue.operators}
            fields={fields}
            filters={block.field_filters ?? []}
            change={(field_filters) => change({ ...block, field_filters })}
          />
        )}
        <Group justify="space-between" mt="sm">
          <Button variant="subtle" color="red" leftSection={<IconTrash size={16} />} onClick={remove}>
            Remove block
          </Button>
          <Button onClick={close}>Done</Button>
        </Group>
      </Stack>
    </Drawer>
  );
}

interface SettingProps {
  name: string;
  property: Property;
  required: boolean;
  value: unknown;
  change: (value: unknown) => void;
}

function Setting({ name, property, required, value, change }: SettingProps) {
  const choices = property.enum ?? property.anyOf?.find((one) => one.enum)?.enum;
  const types = [property.type, ...(property.anyOf ?? []).map((one) => one.type)];
  const shared = { label: sentence(name), description: property.description, required };
  const formula = types.includes('string') && types.includes('number');
  const usual = property.default === null || property.default === undefined ? '' : String(property.default);
  if (choices) {
    return (
      <Select
        {...shared}
        data={choices.map((one) => ({ value: one, label: sentence(one) }))}
        value={typeof value === 'string' ? value : usual || null}
        allowDeselect={!required}
        onChange={(now) => change(now ?? undefined)}
      />
    );
  }
  if (property.type === 'boolean') {
    return (
      <Switch
        label={shared.label}
        description={shared.description}
        checked={(value ?? property.default) === true}
        onChange={(event) => change(event.currentTarget.checked)}
      />
    );
  }
  if (types.includes('integer') && !formula) {
    return (
      <NumberInput
        {...shared}
        value={typeof value === 'number' ? value : ''}
        placeholder={usual}
        onChange={(now) => change(now === '' ? undefined : Number(now))}
      />
    );
  }
  return (
    <TextInput
      {...shared}
      description={
        formula
          ? `${property.description ?? ''} "text" in quotes, numbers, names of fields, + - * /, UPPER(name), ROUND(price, 2) …`
          : property.description
      }
      classNames={formula ? { input: 'mono' } : undefined}
      value={value === undefined || value === null ? '' : String(value)}
      placeholder={usual}
      onChange={(event) =>
        change(event.currentTarget.value === '' && !required ? undefined : event.currentTarget.value)
      }
    />
  );
}

interface FiltersProps {
  label: string;
  told: string;
  ons: string[];
  operators: string[];
  fields: readonly string[];
  filters: Filter[];
  change: (filters: Filter[]) => void;
}

function Filters({ label, told, ons, operators, fields, filters, change }: FiltersProps) {
  const set = (index: number, filter: Filter) =>
    change(filters.map((one, at) => (at === index ? filter : one)));
  return (
    <fieldset className="canvas-filters" aria-label={label}>
      <Group justify="space-between">
        <Text size="sm" fw={500}>
          {label}
        </Text>
        <Button
          size="compact-xs"
          variant="subtle"
          leftSection={<IconPlus size={12} />}
          onClick={() => change([...filters, { on: ons[0] ?? 'EVENT_TYPE', op: 'EQUALS', value: '' }])}
        >
          Add
        </Button>
      </Group>
      <Text size="xs" c="dimmed" mb={4}>
        {told}
      </Text>
      <Stack gap={6}>
        {filters.map((one, index) => (
          <Group key={index} gap={4} wrap="nowrap" align="flex-start">
            <Select
              size="xs"
              w={116}
              aria-label="Looks at"
              allowDeselect={false}
              value={one.on}
              data={ons.map((on) => ({ value: on, label: sentence(on) }))}
              onChange={(on) =>
                on && set(index, { ...one, on, field: on === 'EVENT_FIELD' ? (one.field ?? '') : undefined })
              }
            />
            {one.on === 'EVENT_FIELD' && (
              <TextInput
                size="xs"
                flex={1}
                aria-label="Field"
                placeholder={fields[0] ?? 'field'}
                value={one.field ?? ''}
                onChange={(event) => set(index, { ...one, field: event.currentTarget.value })}
              />
            )}
            <Select
              size="xs"
              w={110}
              aria-label="How it compares"
              searchable
              allowDeselect={false}
              value={one.op ?? 'EQUALS'}
              data={operators
                .filter((op) => !op.includes('RANGE'))
                .map((op) => ({ value: op, label: sentence(op) }))}
              onChange={(op) => {
                if (!op) return;
                const { value: _, ...rest } = one;
                set(index, ALONE.includes(op) ? { ...rest, op } : { ...one, op, value: one.value ?? '' });
              }}
            />
            {!ALONE.includes(one.op ?? '') && (
              <TextInput
                size="xs"
                flex={1}
                aria-label="Value"
                value={one.value === undefined || one.value === null ? '' : String(one.value)}
                onChange={(event) => set(index, { ...one, value: event.currentTarget.value })}
              />
            )}
            <ActionIcon
              size={30}
              aria-label="Remove this filter"
              onClick={() => change(filters.filter((_, at) => at !== index))}
            >
              <IconTrash size={14} />
            </ActionIcon>
          </Group>
        ))}
      </Stack>
    </fieldset>
  );
}
