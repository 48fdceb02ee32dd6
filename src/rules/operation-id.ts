/** The verbs of the worker contract, as they stand in operation ids. */
export const VERBS = [
  'create-region',
  'delete-region',
  'deploy-task-group',
  'cancel-task-group',
  'request-resource',
  'release-resource',
] as const;
export type Verb = (typeof VERBS)[number];

/** What an operation id is made of. Holds no workflow id, so that whoever drives the claim joins what runs (I2). */
export interface OperationKey {
  readonly verb: Verb;
  /** {@link regionPath}, {@link resourcePath} or {@link taskGroupPath}. */
  readonly path: string;
  readonly nodeId: string;
  /** Fencing epoch of the claim. */
  readonly epoch: number;
  /** 1 for the first attempt; raised only after FAIL was seen (I3). */
  readonly attempt: number;
}

/** The catalog's UUID keeps a new catalog from ever meeting the answers of an old one. */
export function regionPath(region: { readonly catalogId: string; readonly groupId: number }): string {
  return `${region.catalogId}/${region.groupId}`;
}

export function resourcePath(resource: { readonly catalogId: string; readonly resourceId: string }): string {
  return `${resource.catalogId}/${resource.resourceId}`;
}

export interface TaskGroupLocation {
  readonly catalogId: string;
  readonly jobId: string;
  readonly pipeline: number;
  readonly taskGroup: number;
}

export function taskGroupPath({ catalogId, jobId, pipeline, taskGroup }: TaskGroupLocation): string {
  return `${catalogId}/${jobId}/${pipeline}/${taskGroup}`;
}

/** `<verb>/<path>/<node>@<epoch>#<attempt>` */
export function formatOperationId(key: OperationKey): string {
  return `${key.verb}/${key.path}/${key.nodeId}@${key.epoch}#${key.attempt}`;
}

const SEGMENT = '[A-Za-z0-9][A-Za-z0-9._-]{0,62}';
const NUMBER = '(?:0|[1-9]\\d{0,14})';
const OPERATION_ID = new RegExp(
  `^(${VERBS.join('|')})/([0-9a-f-]{36}(?:/${SEGMENT}){1,3})/([a-z0-9][a-z0-9._-]{0,62})@(${NUMBER})#(${NUMBER})$`,
);

/** The parts of an operation id; undefined for anything else. */
export function parseOperationId(id: string): OperationKey | undefined {
  const match = OPERATION_ID.exec(id);
  if (match === null) return undefined;
  const [, verb, path, nodeId, epoch, attempt] = match;
  return {
    verb: verb as Verb,
    path: path!,
    nodeId: nodeId!,
    epoch: Number(epoch),
    attempt: Number(attempt),
  };
}
