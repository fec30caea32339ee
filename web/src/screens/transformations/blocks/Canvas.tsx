/** Blocks on a canvas. Import it lazily: React Flow is large. */
import '@xyflow/react/dist/style.css';
import './canvas.css';
import { ActionIcon, Group, Menu, Skeleton, Text, Tooltip } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import {
  IconArrowBackUp,
  IconArrowForwardUp,
  IconEraser,
  IconGripVertical,
  IconPlus,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import {
  Background,
  Controls,
  type Edge,
  Handle,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  type ReactFlowInstance,
} from '@xyflow/react';
import { createContext, type DragEvent, useContext, useEffect, useMemo, useRef, useState } from 'react';
import { ErrorNote } from '~/parts/ErrorNote';
import { type Catalogue, catalogueQuery, fresh, GROUPS } from './catalogue';
import {
  type Block,
  blockAt,
  type Chain,
  inserted,
  laidOut,
  moved,
  type Place,
  removed,
  replaced,
  type Spot,
  textOf,
} from './chain';
import { summary } from './filters';
import { Settings } from './Settings';

interface Props {
  chain: Chain;
  fields: readonly string[];
  /** Left out: whoever looks may not change it. */
  change: ((text: string) => void) | undefined;
}

type SpotNode = Node<{ spot: Spot }>;

interface Hands {
  catalogue: Catalogue;
  edits: boolean;
  open: (place: Place) => void;
  add: (place: Place, type: string) => void;
  drop: (place: Place, event: DragEvent) => void;
}

const HandsContext = createContext<Hands | null>(null);
/** As in canvas.css: there the list of blocks is not shown. */
const NARROW = '(max-width: 767px)';
const FIT = { maxZoom: 1, padding: 0.15 };
const DRAGGED = 'application/x-millrace-block';

export default function Canvas({ chain, fields, change }: Props) {
  const catalogue = useQuery(catalogueQuery);
  const [opened, open] = useState<Place | null>(null);
  const past = useRef<Chain[]>([]);
  const future = useRef<Chain[]>([]);
  const become = (next: Chain) => {
    if (!change || next === chain) return;
    past.current.push(chain);
    future.current = [];
    change(textOf(next));
  };
  const step = (from: Chain[], to: Chain[]) => {
    const next = from.pop();
    if (!next || !change) return;
    to.push(chain);
    open(null);
    change(textOf(next));
  };
  const undo = () => step(past.current, future.current);
  const redo = () => step(future.current, past.current);
  const keys = useRef({ undo, redo });
  keys.current = { undo, redo };
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const typing =
        event.target instanceof HTMLElement && event.target.closest('input, textarea, [contenteditable]');
      if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
      event.preventDefault();
      if (event.shiftKey) keys.current.redo();
      else keys.current.undo();
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  }, []);
  const { nodes, edges } = useMemo(() => drawn(chain), [chain]);
  const flow = useRef<ReactFlowInstance<SpotNode> | null>(null);
  const narrow = useMediaQuery(NARROW, undefined, { getInitialValueInEffect: false });
  // What was added is in sight, and all of it when the list of blocks comes or goes. Any other width leaves the place
  // that somebody looks at as it is.
  // biome-ignore lint/correctness/useExhaustiveDependencies: when there are more or fewer of them, or more or less room
  useEffect(() => {
    const frame = requestAnimationFrame(() => void flow.current?.fitView(FIT));
    return () => cancelAnimationFrame(frame);
  }, [nodes.length, narrow]);
  if (catalogue.error) return <ErrorNote error={catalogue.error} again={() => void catalogue.refetch()} />;
  if (!catalogue.data) return <Skeleton height={420} />;
  const kinds = catalogue.data.kinds;
  const add = (place: Place, type: string) => {
    const kind = kinds[type];
    if (!kind) return;
    become(inserted(chain, place, fresh(kind)));
    open(place);
  };
  const hands: Hands = {
    catalogue: catalogue.data,
    edits: change !== undefined,
    open,
    add,
    drop: (place, event) => {
      const said = event.dataTransfer.getData(DRAGGED);
      if (!said) return;
      const what = JSON.parse(said) as { type?: string; from?: Place };
      if (what.type) add(place, what.type);
      else if (what.from) become(moved(chain, what.from, place));
    },
  };
  const block = opened && blockAt(chain, opened);
  return (
    <HandsContext value={hands}>
      <div className="canvas">
        {change && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
          <aside className="canvas-blocks" aria-label="Blocks" tabIndex={0}>
            <Group justify="space-between" px={4} pb={4}>
              <Text size="xs" c="dimmed">
                Drag to a +
              </Text>
              <Group gap={0}>
                <Tooltip label="Undo (Ctrl Z)">
                  <ActionIcon size={26} aria-label="Undo" disabled={past.current.length === 0} onClick={undo}>
                    <IconArrowBackUp size={16} />
                  </ActionIcon>
                </Tooltip>
                <Tooltip label="Redo (Ctrl Shift Z)">
                  <ActionIcon
                    size={26}
                    aria-label="Redo"
                    disabled={future.current.length === 0}
                    onClick={redo}
                  >
                    <IconArrowForwardUp size={16} />
                  </ActionIcon>
                </Tooltip>
                <Tooltip label="Remove all blocks">
                  <ActionIcon
                    size={26}
                    aria-label="Remove all blocks"
                    disabled={chain.blocks.length === 0}
                    onClick={() => {
                      open(null);
                      become({ ...chain, blocks: [] });
                    }}
                  >
                    <IconEraser size={16} />
                  </ActionIcon>
                </Tooltip>
              </Group>
            </Group>
            {GROUPS.map(([title, types]) => (
              <div key={title}>
                <Text size="xs" fw={600} c="dimmed" px={4} pt={8} pb={2}>
                  {title}
                </Text>
                {types
                  .filter((type) => kinds[type])
                  .map((type) => (
                    // biome-ignore lint/a11y/noStaticElementInteractions: dragging is one way; the button of each place is the other, with keys
                    <div
                      key={type}
                      className="canvas-kind"
                      draggable
                      title={kinds[type]?.told}
                      onDragStart={(event) => event.dataTransfer.setData(DRAGGED, JSON.stringify({ type }))}
                    >
                      {kinds[type]?.label}
                    </div>
                  ))}
              </div>
            ))}
          </aside>
        )}
        <div style={{ flex: 1, minWidth: 0 }}>
          <ReactFlow
            nodes={nodes}
            edges={edges}
            nodeTypes={NODES}
            nodesDraggable={false}
            nodesConnectable={false}
            edgesFocusable={false}
            nodesFocusable={false}
            fitView
            fitViewOptions={FIT}
            onInit={(instance) => {
              flow.current = instance;
            }}
            minZoom={0.3}
            maxZoom={1.4}
          >
            <Background />
            <Controls showInteractive={false} />
          </ReactFlow>
        </div>
      </div>
      {block && opened && (
        <Settings
          block={block}
          catalogue={catalogue.data}
          fields={fields}
          change={(next: Block) => change && become(replaced(chain, opened, next))}
          remove={() => {
            become(removed(chain, opened));
            open(null);
          }}
          close={() => open(null)}
        />
      )}
    </HandsContext>
  );
}

function drawn(chain: Chain): { nodes: SpotNode[]; edges: Edge[] } {
  const { spots, lines } = laidOut(chain);
  return {
    nodes: spots.map((spot) => ({
      id: spot.id,
      type: spot.kind,
      position: { x: spot.x, y: spot.y },
      origin: [0.5, 0],
      data: { spot },
    })),
    edges: lines.map(({ from, to, label }) => ({
      id: `${from} ${to}`,
      source: from,
      target: to,
      label,
      type: 'smoothstep',
    })),
  };
}

function Start() {
  return (
    <div className="canvas-start">
      Every event
      <Handle type="source" position={Position.Bottom} />
    </div>
  );
}

function Slot({ data: { spot } }: NodeProps<SpotNode>) {
  const hands = useContext(HandsContext);
  const [over, setOver] = useState(false);
  if (!hands) return null;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dragging is one way; the button of each place is the other, with keys
    <div
      className="canvas-slot nopan"
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        hands.drop(spot.place, event);
      }}
    >
      <Handle type="target" position={Position.Top} />
      {hands.edits && (
        <Menu position="right" withinPortal>
          <Menu.Target>
            <button type="button" aria-label="Add a block here">
              <IconPlus size={14} />
            </button>
          </Menu.Target>
          <Menu.Dropdown mah={320} style={{ overflow: 'auto' }}>
            {GROUPS.flatMap(([, types]) => types)
              .filter((type) => hands.catalogue.kinds[type])
              .map((type) => (
                <Menu.Item key={type} onClick={() => hands.add(spot.place, type)}>
                  {hands.catalogue.kinds[type]?.label}
                </Menu.Item>
              ))}
          </Menu.Dropdown>
        </Menu>
      )}
      <Handle type="source" position={Position.Bottom} />
    </div>
  );
}

function BlockCard({ data: { spot } }: NodeProps<SpotNode>) {
  const hands = useContext(HandsContext);
  if (!hands || !spot.block) return null;
  const kind = hands.catalogue.kinds[spot.block.type];
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dragging is one way; the button of each place is the other, with keys
    <div
      className="canvas-block nopan"
      data-type={spot.block.type}
      draggable={hands.edits}
      onDragStart={(event) => event.dataTransfer.setData(DRAGGED, JSON.stringify({ from: spot.place }))}
    >
      <Handle type="target" position={Position.Top} />
      <IconGripVertical size={14} color="var(--muted)" aria-hidden style={{ flex: 'none' }} />
      <button type="button" onClick={() => hands.open(spot.place)}>
        <Text size="sm" fw={600} component="span" display="block">
          {kind?.label ?? spot.block.type}
        </Text>
        <Text size="xs" c="dimmed" component="span" display="block" truncate>
          {summary(spot.block)}
        </Text>
      </button>
      <Handle type="source" position={Position.Bottom} />
    </div>
  );
}

const NODES = { start: Start, slot: Slot, block: BlockCard };
