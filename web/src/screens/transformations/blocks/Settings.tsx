import {
  ActionIcon,
  Anchor,
  Autocomplete,
  Button,
  Checkbox,
  Collapse,
  Drawer,
  Group,
  NumberInput,
  SegmentedControl,
  Select,
  Stack,
  Switch,
  Text,
  TextInput,
} from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { sentence } from '~/words/statuses';
import type { Catalogue, Property } from './catalogue';
import { type Block, type Filter, isFilter, type Part, partsOf } from './chain';
import { about, compared, isBare, isRange, operatorsOf } from './filters';
import { FUNCTIONS, SIGNS } from './functions';

interface Props {
  block: Block;
  catalogue: Catalogue;
  fields: readonly string[];
  change: (block: Block) => void;
  remove: () => void;
  close: () => void;
}

/** What a block is told, drawn from its JSON Schema: which events and fields it is for, and its settings. */
export function Settings({ block, catalogue, fields, change, remove, close }: Props) {
  const kind = catalogue.kinds[block.type];
  const { parts, how } = partsOf(block.condition);
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
            told={
              <Group gap={6}>
                Events go through the first branch where
                <SegmentedControl
                  size="xs"
                  aria-label="How many must hold"
                  value={how}
                  onChange={(value) => change({ ...block, condition: { [value]: parts } })}
                  data={[
                    { value: 'all', label: 'all' },
                    { value: 'any', label: 'one' },
                  ]}
                />
                of these {how === 'all' ? 'hold' : 'holds'}.
              </Group>
            }
            ons={['EVENT_TYPE', 'EVENT_FIELD']}
            operators={catalogue.operators}
            fields={fields}
            filters={parts}
            change={(filters) => change({ ...block, condition: { [how]: filters } })}
          />
        )}
        <Filters
          label="Which events"
          told="All of these must hold; none: every event. Others pass unchanged."
          ons={['EVENT_TYPE', 'EVENT_FIELD']}
          operators={catalogue.operators}
          fields={fields}
          filters={block.event_filters ?? []}
          change={(filters) => change({ ...block, event_filters: filters.filter(isFilter) })}
        />
        {kind?.hasFieldFilters && (
          <Filters
            label="Which fields"
            told="All of these must hold; none: every field."
            ons={['FIELD_NAME', 'FIELD_VALUE']}
            operators={catalogue.operators}
            fields={fields}
            filters={block.field_filters ?? []}
            change={(filters) => change({ ...block, field_filters: filters.filter(isFilter) })}
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
  const written = (
    <TextInput
      {...shared}
      classNames={formula ? { input: 'mono' } : undefined}
      value={value === undefined || value === null ? '' : String(value)}
      placeholder={usual}
      onChange={(event) =>
        change(event.currentTarget.value === '' && !required ? undefined : event.currentTarget.value)
      }
    />
  );
  if (!formula) return written;
  return (
    <div>
      {written}
      <FormulaHelp />
    </div>
  );
}

/** What a formula may say, folded away. */
function FormulaHelp() {
  const [open, show] = useState(false);
  return (
    <>
      <Anchor component="button" type="button" size="xs" aria-expanded={open} onClick={() => show(!open)}>
        What a formula may say
      </Anchor>
      <Collapse expanded={open}>
        <table className="table" aria-label="What a formula may say">
          <tbody>
            {[...SIGNS, ...FUNCTIONS].map(([usage, told]) => (
              <tr key={usage}>
                <td className="mono">{usage}</td>
                <td>{told}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Collapse>
    </>
  );
}

interface FiltersProps {
  label: string;
  told: ReactNode;
  ons: string[];
  operators: string[];
  fields: readonly string[];
  filters: readonly Part[];
  change: (filters: Part[]) => void;
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
      <Text size="xs" c="dimmed" mb={4} component="div">
        {told}
      </Text>
      <Stack gap={6}>
        {filters.map((one, index) => (
          <Group key={index} gap={4} wrap="nowrap" align="flex-start">
            {isFilter(one) ? (
              <One
                filter={one}
                ons={ons}
                operators={operators}
                fields={fields}
                change={(filter) => set(index, filter)}
              />
            ) : (
              // Groups in groups are written in files; here they are kept as they are.
              <Text size="xs" className="mono" flex={1} style={{ overflowWrap: 'anywhere' }}>
                {JSON.stringify(one)}
              </Text>
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

interface OneProps extends Pick<FiltersProps, 'ons' | 'operators' | 'fields'> {
  filter: Filter;
  change: (filter: Filter) => void;
}

const typed = (value: unknown): string => (value === undefined || value === null ? '' : String(value));

/** One filter: what it looks at, how it compares, and with what. */
function One({ filter, ons, operators, fields, change }: OneProps) {
  // A field alone: events that have it.
  const op = filter.op ?? (filter.on === 'EVENT_FIELD' ? 'HAS_FIELD' : 'EQUALS');
  const range = isRange(op);
  return (
    <Stack gap={4} flex={1}>
      <Group gap={4} wrap="nowrap" align="flex-start">
        <Select
          size="xs"
          flex={filter.on === 'EVENT_FIELD' ? '0 0 132px' : 1}
          aria-label="Looks at"
          allowDeselect={false}
          value={filter.on}
          data={ons.map((on) => ({ value: on, label: sentence(on) }))}
          onChange={(on) => on && change(about(filter, on, operators))}
        />
        {filter.on === 'EVENT_FIELD' && (
          <Autocomplete
            size="xs"
            flex={1}
            aria-label="Field"
            placeholder={fields[0] ?? 'field'}
            data={[...fields]}
            value={filter.field ?? ''}
            onChange={(field) => change({ ...filter, field })}
          />
        )}
      </Group>
      <Group gap={4} wrap="nowrap" align="flex-start">
        <Select
          size="xs"
          flex={range || isBare(op) ? 1 : '0 0 132px'}
          aria-label="How it compares"
          searchable
          allowDeselect={false}
          value={op}
          data={operatorsOf(filter.on, operators).map((op) => ({ value: op, label: sentence(op) }))}
          onChange={(now) => now && change(compared(filter, now))}
        />
        {!range && !isBare(op) && (
          <Autocomplete
            size="xs"
            flex={1}
            aria-label="Value"
            data={filter.on === 'FIELD_NAME' ? [...fields] : []}
            value={typed(filter.value)}
            onChange={(value) => change({ ...filter, value })}
          />
        )}
      </Group>
      {range && (
        <Group gap={4} wrap="nowrap">
          <TextInput
            size="xs"
            flex={1}
            aria-label="From"
            placeholder="from"
            value={typed(filter.from)}
            onChange={(event) => change({ ...filter, from: event.currentTarget.value })}
          />
          <TextInput
            size="xs"
            flex={1}
            aria-label="To"
            placeholder="to"
            value={typed(filter.to)}
            onChange={(event) => change({ ...filter, to: event.currentTarget.value })}
          />
          <Checkbox
            size="xs"
            label="and its ends"
            checked={filter.inclusive !== false}
            onChange={(event) => change({ ...filter, inclusive: event.currentTarget.checked })}
          />
        </Group>
      )}
    </Stack>
  );
}
