import { Button, Center, Checkbox, Skeleton } from '@mantine/core';
import { type ColumnDef, rowSelectionFeature, tableFeatures, useTable } from '@tanstack/react-table';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useMemo, useRef } from 'react';
import { ErrorNote } from './ErrorNote';
import { Scroll } from './Scroll';

const features = tableFeatures({ rowSelectionFeature });

export interface Column<T> {
  id: string;
  header: ReactNode;
  cell: (row: T) => ReactNode;
  align?: 'right';
  width?: number | string;
  /** The widest screens on which it is left out. */
  hide?: 'phone' | 'tablet';
}

interface Props<T> {
  /** What the table is of, for those who do not see it. */
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[] | undefined;
  id: (row: T) => string;
  error?: Error | null;
  again?: () => void;
  /** Shown in place of no rows. */
  empty?: ReactNode;
  open?: (row: T) => void;
  /** The row whose details are open. */
  current?: string | undefined;
  selected?: Record<string, true>;
  select?: (selected: Record<string, true>) => void;
  /** Whether and how there is a next page. */
  more?: { next: boolean; loading: boolean; load: () => void };
  /** The largest height of the table in px, within which its rows are scrolled. */
  height?: number;
  /** The height of a row in px: with it, and more than VIRTUAL rows, only those in sight are drawn. */
  rowHeight?: number;
}

const VIRTUAL = 100;

/** Rows under headers; what is asked for in pages goes on with a button below. */
export function DataTable<T>(props: Props<T>) {
  const {
    label,
    columns,
    rows,
    id,
    error,
    again,
    empty,
    open,
    current,
    selected,
    select,
    more,
    height,
    rowHeight,
  } = props;
  const data = useMemo(() => [...(rows ?? [])], [rows]);
  const defs = useMemo(
    () =>
      columns.map(
        (one): ColumnDef<typeof features, T & object> => ({
          id: one.id,
          header: () => one.header,
          cell: ({ row }) => one.cell(row.original),
        }),
      ),
    [columns],
  );
  const table = useTable({
    features,
    columns: defs,
    data: data as (T & object)[],
    getRowId: (row) => id(row),
    state: { rowSelection: selected ?? {} },
    onRowSelectionChange: (change) =>
      select?.(typeof change === 'function' ? change(selected ?? {}) : change),
  });
  const scroll = useRef<HTMLDivElement>(null);
  const all = table.getRowModel().rows;
  const virtual = rowHeight !== undefined && all.length > VIRTUAL;
  const virtualizer = useVirtualizer({
    count: all.length,
    enabled: virtual,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight ?? 41,
    overscan: 12,
  });
  if (error && !rows) {
    return (
      <div style={{ padding: 16 }}>
        <ErrorNote error={error} again={again} />
      </div>
    );
  }
  if (rows?.length === 0 && empty) return empty;
  const shown = virtual
    ? virtualizer.getVirtualItems()
    : all.map((_, index) => ({ index, start: 0, end: 0 }));
  const before = virtual ? (shown[0]?.start ?? 0) : 0;
  const after = virtual ? virtualizer.getTotalSize() - (shown.at(-1)?.end ?? 0) : 0;
  const width = columns.length + (select ? 1 : 0);
  return (
    <Scroll
      place={scroll}
      label={label}
      className={height ? 'headed card' : ''}
      style={virtual || height ? { maxHeight: height ?? '70vh', overflowY: 'auto' } : undefined}
    >
      <table className="table" aria-label={label} data-clickable={open ? '' : undefined} aria-busy={!rows}>
        <thead>
          <tr>
            {select && (
              <th style={{ width: 40 }}>
                <Checkbox
                  size="xs"
                  aria-label="Choose all"
                  disabled={!rows}
                  checked={table.getIsAllRowsSelected()}
                  indeterminate={table.getIsSomeRowsSelected() && !table.getIsAllRowsSelected()}
                  onChange={table.getToggleAllRowsSelectedHandler()}
                />
              </th>
            )}
            {columns.map((one) => (
              <th
                key={one.id}
                scope="col"
                data-align={one.align}
                data-hide={one.hide}
                style={{ width: one.width }}
              >
                {one.header}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {!rows &&
            [0, 1, 2, 3, 4].map((row) => (
              <tr key={row}>
                <td colSpan={width}>
                  <Skeleton height={14} width={`${85 - row * 9}%`} />
                </td>
              </tr>
            ))}
          {before > 0 && <Gap height={before} width={width} />}
          {shown.map(({ index }) => {
            const row = all[index];
            if (!row) return null;
            return (
              <tr
                key={row.id}
                data-selected={row.id === current || row.getIsSelected() ? '' : undefined}
                onClick={open && ((event) => isPlain(event.target) && open(row.original))}
              >
                {select && (
                  <td>
                    <Checkbox
                      size="xs"
                      aria-label={`Choose ${row.id}`}
                      checked={row.getIsSelected()}
                      onChange={row.getToggleSelectedHandler()}
                    />
                  </td>
                )}
                {columns.map((one) => (
                  <td key={one.id} data-align={one.align} data-hide={one.hide}>
                    {one.cell(row.original)}
                  </td>
                ))}
              </tr>
            );
          })}
          {after > 0 && <Gap height={after} width={width} />}
        </tbody>
      </table>
      {error && rows && (
        <div style={{ padding: 16 }}>
          <ErrorNote error={error} again={again} />
        </div>
      )}
      {more?.next && (
        <Center p="sm">
          <Button variant="default" size="compact-sm" loading={more.loading} onClick={more.load}>
            Show more
          </Button>
        </Center>
      )}
    </Scroll>
  );
}

function Gap({ height, width }: { height: number; width: number }) {
  return (
    <tr aria-hidden>
      <td colSpan={width} style={{ height, padding: 0, border: 0 }} />
    </tr>
  );
}

/** Whether a click meant the row, not something in it. */
function isPlain(target: EventTarget): boolean {
  return target instanceof Element && target.closest('a, button, input, label, [role="menuitem"]') === null;
}
