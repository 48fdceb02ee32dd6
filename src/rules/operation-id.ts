/** The verbs of the worker contract, as they stand in operation ids. */
export type Verb = 'create-region' | 'delete-region';

/** What an operation id is made of. Holds no workflow id, so that whoever drives the claim joins what runs (I2). */
export interface OperationKey {
  readonly verb: Verb;
  /** UUID made with the catalog. */
  readonly catalogId: string;
  readonly groupId: number;
  readonly nodeId: string;
  /** Fencing epoch of the claim. */
  readonly epoch: number;
  /** 1 for the first attempt; raised only after FAIL was seen (I3). */
  readonly attempt: number;
}

/** `<verb>/<catalog id>/<group id>/<node>@<epoch>#<attempt>` */
export function formatOperationId(key: OperationKey): string {
  return `${key.verb}/${key.catalogId}/${key.groupId}/${key.nodeId}@${key.epoch}#${key.attempt}`;
}

const OPERATION_ID =
  /^(create-region|delete-region)\/([0-9a-f-]{36})\/(\d{1,15})\/([a-z0-9][a-z0-9._-]{0,62})@(\d{1,15})#(\d{1,9})$/;

/** The parts of an operation id; undefined for anything else. */
export function parseOperationId(id: string): OperationKey | undefined {
  const match = OPERATION_ID.exec(id);
  if (match === null) return undefined;
  const [, verb, catalogId, groupId, nodeId, epoch, attempt] = match;
  return {
    verb: verb as Verb,
    catalogId: catalogId!,
    groupId: Number(groupId),
    nodeId: nodeId!,
    epoch: Number(epoch),
    attempt: Number(attempt),
  };
}
