import { type Selectable, sql } from 'kysely';
import { type ClaimVerdict, type FoundHolder, judgeClaim } from '../rules/claims.js';
import type { Holder, HolderRef, RegionWorkflow } from '../rules/words.js';
import { type Catalog, type CatalogTransaction, nextEpoch } from './catalog.js';
import type { CatalogTables } from './schema.js';

/** The workflow that claims. */
export interface Claimant extends HolderRef {
  readonly workflowType: RegionWorkflow;
  readonly actor: string;
  /** The workflow's whole input, so that the sweep can start it again. */
  readonly input: unknown;
}

/** Tells whether the workflow of a holder is still open, by describing it. Called outside of any transaction. */
export type IsOpen = (holder: HolderRef) => Promise<boolean>;

export type HolderRow = Selectable<CatalogTables['holder']>;

/** A claim that is refused because a live workflow holds a row that it may not take over (I5). */
export interface ClaimRefused {
  readonly kind: 'REFUSED';
  readonly holder: Holder;
  /** What it holds, for people: `region group 42`, `database sales`. */
  readonly resource: string;
}

/** A claim that cannot be granted to anybody as asked. */
export interface ClaimRejected {
  readonly kind: 'REJECTED';
  readonly code:
    | 'DATABASE_NOT_FOUND'
    | 'DATABASE_DELETING'
    | 'REGION_GROUP_NOT_FOUND'
    | 'REGION_GROUP_REMOVING'
    | 'REQUEST_REUSED'
    | 'NOT_ENOUGH_NODES'
    | 'CLAIM_ABANDONED';
  readonly message: string;
}

/** Thrown inside a claiming transaction to roll it back: a claim that is not granted changes nothing (I10). */
class NotGranted extends Error {
  constructor(readonly answer: ClaimRefused | ClaimRejected) {
    super('the claim is not granted');
  }
}

/** Refuses the claim because of a live holder. */
export function refuse(holder: HolderRow, resource: string): never {
  throw new NotGranted({ kind: 'REFUSED', holder: describeHolder(holder), resource });
}

/** Refuses the claim because of what it asks for. */
export function reject(code: ClaimRejected['code'], message: string): never {
  throw new NotGranted({ kind: 'REJECTED', code, message });
}

/** Thrown inside a claiming transaction that met holders nobody has described yet. */
class UndescribedHolders extends Error {
  constructor(readonly holders: readonly HolderRow[]) {
    super('holders must be described first');
  }
}

/** What a claiming transaction needs to know about the holders that it meets. */
export interface ClaimContext {
  readonly self: HolderRow;
  readonly predecessor: HolderRow | undefined;
  /** By holder id; only what was described. */
  readonly open: ReadonlyMap<number, boolean>;
}

/**
 * Runs a claiming transaction, again whenever it meets a holder that was not described yet (I5). A verdict about a holder
 * is a compare-and-set on it: rows held by another one at that moment are judged anew.
 */
export async function claim<T>(
  catalog: Catalog,
  claimant: Claimant,
  from: HolderRef | undefined,
  isOpen: IsOpen,
  transact: (transaction: CatalogTransaction, context: ClaimContext) => Promise<T>,
): Promise<T | ClaimRefused | ClaimRejected> {
  const open = new Map<number, boolean>();
  for (;;) {
    try {
      return await catalog.transaction().execute(async (transaction) => {
        const self = await ensureHolder(transaction, claimant, 'KEY_SHARE');
        if (isAbandoned(self)) reject('CLAIM_ABANDONED', 'the claim was canceled before it was made');
        const predecessor = from && (await findHolder(transaction, from));
        return transact(transaction, { self, predecessor, open });
      });
    } catch (error) {
      if (error instanceof NotGranted) return error.answer;
      if (!(error instanceof UndescribedHolders)) throw error;
      for (const holder of error.holders) open.set(holder.holder_id, await isOpen(refOf(holder)));
    }
  }
}

/**
 * Makes sure that a claim which was not answered is not made later: CLAIMED when it was made after all. The holder's row
 * orders the two: whoever comes second sees what the first one did.
 */
export async function abandonClaim(catalog: Catalog, claimant: Claimant): Promise<'ABANDONED' | 'CLAIMED'> {
  return catalog.transaction().execute(async (transaction) => {
    const self = await ensureHolder(transaction, claimant, 'UPDATE');
    for (const table of ['database', 'region_group'] as const) {
      const held = await transaction
        .selectFrom(table)
        .select('epoch')
        .where('holder_id', '=', self.holder_id)
        .limit(1)
        .executeTakeFirst();
      if (held !== undefined) return 'CLAIMED';
    }
    await transaction
      .updateTable('holder')
      .set({ ended_at: sql<Date>`now()`, outcome: JSON.stringify(ABANDONED) })
      .where('holder_id', '=', self.holder_id)
      .execute();
    return 'ABANDONED';
  });
}

const ABANDONED = { abandoned: true } as const;

function isAbandoned({ outcome }: HolderRow): boolean {
  return typeof outcome === 'object' && outcome !== null && 'abandoned' in outcome;
}

/** A locked row that can be held: a region group or a database. */
export interface ClaimableRow {
  readonly holder_id: number | null;
  readonly resource: string;
}

export interface Judged<R> {
  readonly row: R;
  readonly verdict: Exclude<ClaimVerdict, { kind: 'REFUSED' }>;
}

/**
 * Judges rows that the transaction has locked. Throws to roll the whole claim back when a row is refused, or when its
 * holder must be described first; marks the holders that are taken over as superseded.
 */
export async function judgeRows<R extends ClaimableRow>(
  transaction: CatalogTransaction,
  context: ClaimContext,
  rows: readonly R[],
): Promise<Judged<R>[]> {
  const holders = await holdersOf(transaction, rows);
  const undescribed = [...holders.values()].filter(
    ({ holder_id }) => !isKnown(context, holder_id) && !context.open.has(holder_id),
  );
  if (undescribed.length > 0) throw new UndescribedHolders(undescribed);

  const judged = rows.map((row) => {
    const holder = row.holder_id === null ? undefined : holders.get(row.holder_id)!;
    const verdict = judgeClaim(context.self.workflow_type, found(context, holder));
    if (verdict.kind === 'REFUSED') refuse(holder!, row.resource);
    return { row, verdict };
  });
  await markSuperseded(
    transaction,
    context.self.holder_id,
    judged.flatMap(({ row, verdict }) =>
      verdict.kind === 'TAKE' && verdict.supersedes ? [row.holder_id!] : [],
    ),
  );
  return judged;
}

/** Draws one epoch for all rows of a claim that must be raised; undefined when there are none. */
export async function epochFor(
  transaction: CatalogTransaction,
  judged: readonly Judged<unknown>[],
): Promise<number | undefined> {
  return judged.some(({ verdict }) => verdict.kind === 'TAKE') ? nextEpoch(transaction) : undefined;
}

export async function findHolder(
  catalog: Catalog | CatalogTransaction,
  ref: HolderRef,
): Promise<HolderRow | undefined> {
  return catalog
    .selectFrom('holder')
    .selectAll()
    .where('workflow_id', '=', ref.workflowId)
    .where('first_run_id', '=', ref.firstRunId)
    .executeTakeFirst();
}

/** The holder that took over from this one, as it is told to whoever was superseded. */
export async function supersededBy(
  catalog: Catalog | CatalogTransaction,
  holder: HolderRow,
): Promise<Holder | undefined> {
  if (holder.superseded_by === null) return undefined;
  const row = await catalog
    .selectFrom('holder')
    .selectAll()
    .where('holder_id', '=', holder.superseded_by)
    .executeTakeFirst();
  return row && describeHolder(row);
}

/** Holders by id, as people are told of them. */
export async function holdersById(
  catalog: Catalog | CatalogTransaction,
  ids: readonly (number | null)[],
): Promise<Map<number, Holder>> {
  const known = await catalog
    .selectFrom('holder')
    .selectAll()
    .where('holder_id', 'in', [-1, ...new Set(ids.filter((id) => id !== null))])
    .execute();
  return new Map(known.map((row) => [row.holder_id, describeHolder(row)]));
}

export function describeHolder(row: HolderRow): Holder {
  return {
    ...refOf(row),
    workflowType: row.workflow_type,
    actor: row.actor,
    since: row.since.toISOString(),
  };
}

function refOf(row: HolderRow): HolderRef {
  return { workflowId: row.workflow_id, firstRunId: row.first_run_id };
}

/**
 * The claimant's row, made when it is new. Claims share it, so that they never wait for somebody who marks it as superseded
 * while he waits for the rows that they have locked; an abandoning excludes them.
 */
async function ensureHolder(
  transaction: CatalogTransaction,
  claimant: Claimant,
  lock: 'KEY_SHARE' | 'UPDATE',
): Promise<HolderRow> {
  await transaction
    .insertInto('holder')
    .values({
      workflow_id: claimant.workflowId,
      first_run_id: claimant.firstRunId,
      workflow_type: claimant.workflowType,
      actor: claimant.actor,
      input: JSON.stringify(claimant.input),
    })
    .onConflict((conflict) => conflict.columns(['workflow_id', 'first_run_id']).doNothing())
    .execute();
  const row = transaction
    .selectFrom('holder')
    .selectAll()
    .where('workflow_id', '=', claimant.workflowId)
    .where('first_run_id', '=', claimant.firstRunId);
  return (lock === 'UPDATE' ? row.forUpdate() : row.forKeyShare()).executeTakeFirstOrThrow();
}

async function holdersOf(
  transaction: CatalogTransaction,
  rows: readonly ClaimableRow[],
): Promise<Map<number, HolderRow>> {
  const ids = [...new Set(rows.flatMap(({ holder_id }) => (holder_id === null ? [] : [holder_id])))];
  if (ids.length === 0) return new Map();
  const holders = await transaction.selectFrom('holder').selectAll().where('holder_id', 'in', ids).execute();
  return new Map(holders.map((holder) => [holder.holder_id, holder]));
}

function isKnown({ self, predecessor }: ClaimContext, holderId: number): boolean {
  return holderId === self.holder_id || holderId === predecessor?.holder_id;
}

function found(context: ClaimContext, holder: HolderRow | undefined): FoundHolder {
  if (holder === undefined) return { kind: 'NOBODY' };
  if (holder.holder_id === context.self.holder_id) return { kind: 'SELF' };
  if (holder.holder_id === context.predecessor?.holder_id)
    return { kind: 'PREDECESSOR', workflowType: holder.workflow_type };
  return { kind: 'OTHER', workflowType: holder.workflow_type, open: context.open.get(holder.holder_id)! };
}

async function markSuperseded(
  transaction: CatalogTransaction,
  by: number,
  holderIds: readonly number[],
): Promise<void> {
  if (holderIds.length === 0) return;
  await transaction
    .updateTable('holder')
    .set({ superseded_by: by })
    .where('holder_id', 'in', [...new Set(holderIds)])
    .execute();
}
