import {
  Anchor,
  Autocomplete,
  Code,
  Collapse,
  NumberInput,
  PasswordInput,
  Select,
  Stack,
  Switch,
  TagsInput,
  Textarea,
  TextInput,
} from '@mantine/core';
import { useState } from 'react';
import { FileField } from './FileField';
import { type Kept, Names } from './Names';
import { type Field, fieldsOf, isAsked, matches, type Settings } from './schema';
import { Told } from './Told';

interface Props {
  /** JSON Schema of the settings of a connector. */
  schema: Record<string, unknown>;
  secrets: readonly string[];
  /** Secrets that are kept already: they may be left empty. */
  kept?: readonly string[];
  /** The type of the source: files that its settings name are sent to the server. Else their paths are typed. */
  sends?: string | undefined;
  /** The source or the draft that keeps those secrets. */
  of?: Kept | undefined;
  value: Settings;
  change: (value: Settings) => void;
  /** The key that the server complained of, and its words. */
  wrong?: { field: string; message: string } | null;
}

/** A form drawn from a JSON Schema: what must be said first, the rest folded away. */
export function SchemaForm({ schema, secrets, kept = [], sends, of, value, change, wrong = null }: Props) {
  const [all, showAll] = useState(false);
  const every = fieldsOf(schema, secrets, sends !== undefined);
  const fields = every.filter(
    (one) => isAsked(one, value) || one.key === wrong?.field || kept.includes(one.key),
  );
  // What was said before is not folded away.
  const [said] = useState(() => new Set(Object.keys(value)));
  const [first, rest] = [true, false].map((is) =>
    fields.filter((one) => (one.first || said.has(one.key)) === is),
  ) as [Field[], Field[]];
  const wrongIsHidden = rest.some((field) => field.key === wrong?.field);
  const named = sends !== undefined ? every.find((field) => field.names.length > 0) : undefined;
  const names = sends !== undefined && named && (
    <Names type={sends} config={value} file={named.key} asks={matches(named.names, value)} of={of} />
  );
  const draw = (field: Field) => (
    <div key={field.key}>
      <Input
        field={field}
        kept={kept.includes(field.key)}
        value={value[field.key]}
        error={wrong?.field === field.key ? wrong.message : null}
        change={(now) => {
          const next = { ...value };
          if (now === undefined) delete next[field.key];
          else next[field.key] = now;
          change(next);
        }}
      />
      {field === named && names}
    </div>
  );
  return (
    <Stack gap="md">
      {first.map(draw)}
      {named && !fields.includes(named) && names}
      {rest.length > 0 && (
        <>
          <Anchor
            component="button"
            type="button"
            ta="left"
            size="sm"
            onClick={() => showAll(!all)}
            aria-expanded={all}
          >
            {all || wrongIsHidden ? 'Fewer settings' : `More settings (${rest.length})`}
          </Anchor>
          <Collapse expanded={all || wrongIsHidden}>
            <Stack gap="md">{rest.map(draw)}</Stack>
          </Collapse>
        </>
      )}
    </Stack>
  );
}

interface InputProps {
  field: Field;
  kept: boolean;
  value: unknown;
  error: string | null;
  change: (value: unknown) => void;
}

function Input({ field, kept, value, error, change }: InputProps) {
  const told = field.told ? <Told text={field.told} /> : undefined;
  const common = {
    label: field.label,
    description: told,
    withAsterisk: field.required && !kept,
    error,
  };
  const text = value === undefined || value === null ? '' : String(value);
  const typed = (now: string) => change(now === '' ? undefined : now);
  switch (field.kind) {
    case 'secret':
      return (
        <div>
          <PasswordInput
            {...common}
            autoComplete="new-password"
            placeholder={
              !kept
                ? field.example
                : value === null
                  ? 'Forgotten, once this is saved'
                  : 'Kept; leave empty to keep it'
            }
            value={text}
            onChange={(event) => typed(event.currentTarget.value)}
          />
          {kept && !field.required && (
            <Anchor
              component="button"
              type="button"
              size="xs"
              onClick={() => change(value === null ? undefined : null)}
            >
              {value === null ? 'Keep' : 'Forget'} {field.label}
            </Anchor>
          )}
        </div>
      );
    case 'choice':
      return (
        <Select
          {...common}
          data={field.choices.map(String)}
          clearable={!field.required}
          value={text || null}
          placeholder={field.default}
          onChange={(now) => change(field.choices.find((one) => String(one) === now))}
        />
      );
    case 'switch':
      return (
        <Switch
          label={field.label}
          description={told}
          error={error}
          checked={Boolean(value ?? field.default === 'true')}
          onChange={(event) => change(event.currentTarget.checked)}
        />
      );
    case 'number':
      return (
        <NumberInput
          {...common}
          min={field.least}
          max={field.most}
          allowDecimal={!field.whole}
          placeholder={field.default}
          value={typeof value === 'number' ? value : ''}
          onChange={(now) => change(now === '' ? undefined : Number(now))}
        />
      );
    case 'list':
      return (
        <TagsInput
          {...common}
          placeholder="Type one, then Enter"
          value={Array.isArray(value) ? value.map(String) : []}
          onChange={(now) => change(now.length ? now : undefined)}
        />
      );
    case 'file':
      return <FileField {...common} lines={field.names.length === 0} value={text} change={typed} />;
    case 'json':
      return (
        <Textarea
          {...common}
          description={
            <>
              {told} As JSON, like <Code>{'{"key": "value"}'}</Code>.
            </>
          }
          autosize
          minRows={2}
          className="mono"
          defaultValue={value === undefined ? '' : JSON.stringify(value, null, 2)}
          onBlur={(event) => {
            const said = event.currentTarget.value.trim();
            try {
              change(said === '' ? undefined : JSON.parse(said));
            } catch {
              // The server says what is wrong with it.
              change(said);
            }
          }}
        />
      );
    case 'text':
      return field.known.length > 0 ? (
        <Autocomplete
          {...common}
          data={field.known}
          // All that is known, also where one of them stands there.
          filter={({ options }) => options}
          placeholder={field.default}
          value={text}
          onChange={typed}
        />
      ) : (
        <TextInput
          {...common}
          placeholder={field.example ?? field.default}
          value={text}
          autoComplete="off"
          onChange={(event) => typed(event.currentTarget.value)}
        />
      );
  }
}
