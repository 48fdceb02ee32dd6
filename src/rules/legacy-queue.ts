import { DATABASE_NAME, MAX_ID, NODE_NAME } from './bounds.js';
import { InvalidInput, integer, object, oneOf, text } from './input.js';

/** A region-maintain task that an older control plane had queued. */
export interface LegacyTask {
  readonly id: string;
  readonly type: 'CREATE' | 'DELETE';
  readonly database: string;
  readonly groupId: number;
  readonly nodeId: string;
}

/** An entry as it is known after the reading: a task, or why it is none. `at` names it for people. */
export type LegacyEntry =
  | { readonly kind: 'TASK'; readonly at: string; readonly task: LegacyTask }
  | { readonly kind: 'UNREADABLE'; readonly at: string; readonly problem: string };

/** What is to be done about the tasks of a queue. Every entry is in exactly one place. */
export interface DrainPlan {
  /** By node: the region groups whose region is asked to be deleted there. */
  readonly deletions: readonly { readonly nodeId: string; readonly groupIds: readonly number[] }[];
  /** Region groups of which a region was asked to be created. */
  readonly creations: readonly number[];
  /** Entries that ask again for what an entry before asked for. */
  readonly repeated: number;
  readonly unreadable: readonly { readonly at: string; readonly problem: string }[];
}

const MAX_SHOWN = 120;

/** Reads one entry of the queue; whatever it is, it is accounted for. */
export function readLegacyEntry(value: unknown, index: number): LegacyEntry {
  const at = `entry ${index + 1}`;
  try {
    const fields = object(value, ['id', 'type', 'database', 'groupId', 'nodeId']);
    const { id } = fields;
    if ((typeof id !== 'string' && typeof id !== 'number') || String(id) === '') {
      throw new InvalidInput('id', 'expected a text or a number');
    }
    return {
      kind: 'TASK',
      at: `${at} (id ${id})`,
      task: {
        id: String(id),
        type: oneOf(fields, 'type', ['CREATE', 'DELETE']),
        database: text(fields, 'database', DATABASE_NAME),
        groupId: integer(fields, 'groupId', 1, MAX_ID),
        nodeId: text(fields, 'nodeId', NODE_NAME),
      },
    };
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return { kind: 'UNREADABLE', at, problem: error.message.slice(0, MAX_SHOWN) };
  }
}

/** Sorts a queue into what is to be done. */
export function planDrain(entries: readonly unknown[]): DrainPlan {
  const deletions = new Map<string, Set<number>>();
  const creations = new Set<number>();
  const unreadable: { at: string; problem: string }[] = [];
  let repeated = 0;
  for (const [index, value] of entries.entries()) {
    const entry = readLegacyEntry(value, index);
    if (entry.kind === 'UNREADABLE') {
      unreadable.push({ at: entry.at, problem: entry.problem });
      continue;
    }
    const { type, nodeId, groupId } = entry.task;
    const wanted = type === 'CREATE' ? creations : (deletions.get(nodeId) ?? new Set());
    if (type === 'DELETE') deletions.set(nodeId, wanted);
    if (wanted.has(groupId)) repeated += 1;
    wanted.add(groupId);
  }
  return {
    deletions: [...deletions].map(([nodeId, groupIds]) => ({ nodeId, groupIds: [...groupIds] })),
    creations: [...creations],
    repeated,
    unreadable,
  };
}
