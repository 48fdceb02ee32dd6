import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  ListRegionsRequestSchema,
  type ListRegionsResponse,
  type RegionInfo,
  RegionInfo_State,
} from '../../../src/rpc/gen/steward/worker/v1/inventory_pb.js';
import {
  GetRequestSchema,
  type NodeRef,
  type Operation,
  OperationError_Code,
  OperationState,
  type OperationStatus,
  OperationStatusSchema,
  Refusal_Code,
  type RegionRef,
  SubmitRequestSchema,
  SubmitResponseSchema,
} from '../../../src/rpc/gen/steward/worker/v1/operation_pb.js';
import type { Answers } from './answers.js';
import { spoilLedger } from './spoiled-ledger.js';

/** A node that breaks the contract in one way, and the checks that have to find out. */
export interface BrokenNode {
  readonly name: string;
  readonly caughtBy: readonly string[];
  /** What it answers otherwise than the node that it is made of. */
  readonly lie?: (truth: Answers, self: Pick<NodeRef, 'nodeId' | 'ledgerId'>) => Partial<Answers>;
  /** What it does to its data directory before it starts. */
  readonly spoil?: (data: string) => void;
}

export const BROKEN_NODES: readonly BrokenNode[] = [
  { name: 'is right', caughtBy: [] },
  {
    name: 'takes absence for success',
    caughtBy: ['submit/never-accepted-does-not-exist', 'submit/get-starts-nothing', 'cancel/of-the-unknown'],
    lie: (truth) =>
      told(truth, (status) =>
        status.state === OperationState.TASK_NOT_EXIST ? succeeded(status.operationId) : status,
      ),
  },
  {
    name: 'forgets what it did when it is restarted',
    caughtBy: [
      'restart/ends-survive',
      'restart/success-is-not-repeated',
      'restart/another-request-is-refused',
    ],
    spoil: spoilLedger((room) => {
      room('operations').clearSync();
      room('pending').clearSync();
    }),
  },
  {
    name: 'forgets what was under way when it is restarted',
    caughtBy: [
      'restart/in-the-middle-of-a-creation',
      'restart/in-the-middle-of-a-deletion',
      'restart/before-the-reply',
      'restart/what-waited-runs',
    ],
    spoil: spoilLedger((room) => {
      for (const { value } of room('pending').getRange()) room('operations').removeSync(value.id);
      room('pending').clearSync();
    }),
  },
  {
    name: 'forgets epochs when it is restarted',
    caughtBy: ['restart/epochs-survive'],
    spoil: spoilLedger((room) => room('epochs').clearSync()),
  },
  {
    name: 'makes a new ledger id when it is restarted',
    caughtBy: ['restart/same-node'],
    spoil: spoilLedger((room) => room('facts').removeSync('ledgerId')),
  },
  {
    name: 'runs again what is over',
    caughtBy: ['duplicates/success-is-not-repeated', 'duplicates/deletion-is-not-repeated'],
    lie: (truth) => ({
      async submit(request) {
        const over = await known(truth, request.node, request.operations, OperationState.SUCCESS);
        await truth.submit({ ...request, operations: over.map((operation) => again(operation)) });
        return truth.submit(request);
      },
    }),
  },
  {
    name: 'runs a duplicate next to the first',
    caughtBy: ['duplicates/in-flight'],
    lie: (truth) => ({
      async submit(request) {
        const running = await known(truth, request.node, request.operations, OperationState.PROCESSING);
        await truth.submit({ ...request, operations: running.map((operation) => again(operation)) });
        return truth.submit(request);
      },
    }),
  },
  {
    name: 'makes a success of a failure when it is asked again',
    caughtBy: [
      'failures/stay-when-the-cause-is-gone',
      'failures/of-an-effect-stay',
      'failures/of-a-deletion-stay',
    ],
    lie: (truth) => {
      const seen = new Set<string>();
      return underAnotherId(truth, async (operation, { state, operationId }) => {
        if (seen.has(operationId)) return state === OperationState.FAIL ? again(operation) : undefined;
        seen.add(operationId);
        return undefined;
      });
    },
  },
  {
    name: 'ignores the epoch',
    caughtBy: [
      'epochs/older-after-newer',
      'epochs/late-creation',
      'epochs/before-duplicates',
      'epochs/within-a-batch',
    ],
    lie: (truth) =>
      underAnotherId(truth, async (operation, { refusal }) =>
        refusal?.code === Refusal_Code.STALE_EPOCH
          ? withId(operation, { epoch: refusal.highestEpoch, attempt: 900 })
          : undefined,
      ),
  },
  {
    name: 'judges duplicates before epochs',
    caughtBy: ['epochs/before-duplicates'],
    lie: (truth) => ({
      submit: (request) =>
        changed(truth.submit(request), async (status) => {
          if (status.refusal?.code !== Refusal_Code.STALE_EPOCH) return status;
          const recorded = await ask(truth, request.node, status.operationId);
          return recorded.state === OperationState.TASK_NOT_EXIST ? status : recorded;
        }),
    }),
  },
  {
    name: 'answers before the effect',
    caughtBy: [
      'submit/no-success-before-the-effect',
      'submit/deletion-ends-after-the-effect',
      'duplicates/in-flight',
    ],
    lie: (truth) =>
      told(truth, (status) =>
        status.state === OperationState.PROCESSING
          ? { ...status, state: OperationState.SUCCESS, ended: timestampNow() }
          : status,
      ),
  },
  {
    name: 'holds up the reply for the effect',
    caughtBy: ['submit/reply-does-not-wait', 'epochs/newer-waits-for-older'],
    lie: (truth) => ({
      async submit(request) {
        for (;;) {
          const response = await truth.submit(request);
          const { statuses } = response;
          if (statuses.every(({ state }) => state !== OperationState.PROCESSING)) return response;
          await pause(20);
        }
      },
    }),
  },
  {
    name: 'knows only what is over',
    caughtBy: ['submit/accepted-is-known-at-once', 'submit/no-success-before-the-effect'],
    lie: (truth) => ({
      get: (request) =>
        changed(truth.get(request), (status) =>
          status.state === OperationState.PROCESSING ? unknown(status.operationId) : status,
        ),
    }),
  },
  {
    name: 'takes a known id for another request',
    caughtBy: [
      'duplicates/another-request-in-flight',
      'duplicates/another-request-after-success',
      'duplicates/another-request-after-failure',
      'duplicates/twice-in-a-batch',
      'restart/another-request-is-refused',
    ],
    lie: (truth) => ({
      submit: (request) =>
        changed(truth.submit(request), async (status) => {
          if (status.refusal?.code !== Refusal_Code.INVALID_ARGUMENT) return status;
          const recorded = await ask(truth, request.node, status.operationId);
          return recorded.state === OperationState.TASK_NOT_EXIST ? status : recorded;
        }),
    }),
  },
  {
    name: 'steps back in its progress',
    caughtBy: ['progress/of-creations', 'progress/of-deletions', 'progress/of-what-is-held-up'],
    lie: (truth) => {
      const looks = new Map<string, number>();
      return told(truth, (status) => {
        const { operationId, progress } = status;
        if (progress === undefined || progress.done === 0n) return status;
        const look = (looks.get(operationId) ?? 0) + 1;
        looks.set(operationId, look);
        return look % 2 === 1 ? status : { ...status, progress: { ...progress, done: progress.done - 1n } };
      });
    },
  },
  {
    name: 'runs two operations of a resource at once',
    caughtBy: ['epochs/newer-waits-for-older', 'epochs/never-two-at-once'],
    lie: (truth) =>
      underAnotherId(truth, async (operation, status, node) => {
        const isWaiting =
          status.state === OperationState.PROCESSING && (await isBehindAnother(truth, node, operation));
        // What would have to wait is done elsewhere, at once.
        return isWaiting ? withId(operation, { moveTo: 500_000_000n }) : undefined;
      }),
  },
  {
    name: 'refuses without a delay',
    caughtBy: ['back-pressure/has-a-delay'],
    lie: (truth) => ({
      submit: (request) =>
        changed(truth.submit(request), (status) => {
          const { refusal } = status;
          if (refusal?.code !== Refusal_Code.RESOURCE_EXHAUSTED) return status;
          const { retryAfter: _, ...rest } = refusal;
          return { ...status, refusal: rest };
        }),
    }),
  },
  {
    name: 'remembers what it refused for want of room',
    caughtBy: ['back-pressure/leaves-no-trace'],
    lie: (truth) => {
      const refused = new Map<string, OperationStatus>();
      return {
        submit: (request) =>
          changed(truth.submit(request), (status) => {
            if (status.refusal?.code === Refusal_Code.RESOURCE_EXHAUSTED) {
              refused.set(status.operationId, failed(status.operationId, OperationError_Code.INTERNAL));
            }
            return status;
          }),
        get: (request) => changed(truth.get(request), (status) => refused.get(status.operationId) ?? status),
      };
    },
  },
  {
    name: 'refuses a whole call for one bad entry',
    caughtBy: ['batches/one-bad-entry', 'malformed/empty-id', 'malformed/epoch-0'],
    lie: (truth) => ({
      async submit(request) {
        const response = await truth.submit(request);
        for (const { refusal } of response.statuses) {
          if (refusal?.code !== Refusal_Code.INVALID_ARGUMENT) continue;
          throw new ConnectError(refusal.message, Code.InvalidArgument);
        }
        return response;
      },
    }),
  },
  {
    name: 'takes more than 250 operations',
    caughtBy: ['batches/of-251'],
    lie: (truth) => ({
      async submit(request) {
        const operations = [...request.operations];
        const response = await truth.submit({ ...request, operations: operations.splice(0, 250) });
        if (operations.length === 0) return response;
        const rest = await truth.submit({ ...request, operations });
        return { ...response, statuses: [...response.statuses, ...rest.statuses] };
      },
    }),
  },
  {
    name: 'answers in another order',
    caughtBy: ['submit/answers-in-order'],
    lie: (truth) => ({
      async get(request) {
        const response = await truth.get(request);
        return { ...response, statuses: response.statuses.toReversed() };
      },
    }),
  },
  {
    name: 'answers for anybody',
    caughtBy: [
      'identity/another-node-is-refused',
      'identity/another-ledger-is-refused',
      'identity/nobody-is-refused',
    ],
    lie: (truth, self) => {
      const mine = <T extends object>(request: T): T => ({ ...request, node: self });
      return {
        submit: (request) => truth.submit(mine(request)),
        get: (request) => truth.get(mine(request)),
        cancel: (request) => truth.cancel(mine(request)),
        listRegions: (request) => truth.listRegions(mine(request)),
        listEpochs: (request) => truth.listEpochs(mine(request)),
      };
    },
  },
  {
    name: 'cancels deletions',
    caughtBy: ['cancel/of-a-deletion'],
    lie: (truth) =>
      cancelling(
        truth,
        ({ operationId, state }) =>
          operationId.startsWith('delete-region/') && state === OperationState.PROCESSING,
      ),
  },
  {
    name: 'cancels what is over',
    caughtBy: ['cancel/late-after-success'],
    lie: (truth) => cancelling(truth, ({ state }) => state === OperationState.SUCCESS),
  },
  {
    name: 'does not delete',
    caughtBy: ['regions/are-deleted', 'inventory/back-to-baseline'],
    lie: (truth) => {
      const seen = new Map<string, RegionInfo>();
      return {
        async submit(request) {
          for (const { request: asked } of request.operations) {
            if (asked.case !== 'createRegion' || asked.value.region === undefined) continue;
            const { region, database, kind } = asked.value;
            const info = {
              region,
              database,
              kind,
              state: RegionInfo_State.PRESENT,
              epoch: 1n,
              sizeBytes: 0n,
            };
            seen.set(`${region.catalogId}/${region.groupId}`, info as RegionInfo);
          }
          return truth.submit(request);
        },
        async listRegions(request): Promise<ListRegionsResponse> {
          const response = await truth.listRegions(request);
          const found = new Set(
            response.regions.map(({ region }) => `${region?.catalogId}/${region?.groupId}`),
          );
          const gone = [...seen].filter(([key]) => !found.has(key) && key.startsWith(request.catalogId));
          return { ...response, regions: [...response.regions, ...gone.map(([, info]) => info)] };
        },
      };
    },
  },
  {
    name: 'fails to delete what is absent',
    caughtBy: ['regions/absent-are-deleted', 'epochs/of-one-resource'],
    lie: (truth) => {
      const absent = new Set<string>();
      const lie = told(truth, (status) =>
        absent.has(status.operationId) && status.state === OperationState.SUCCESS
          ? { ...failed(status.operationId, OperationError_Code.IO), progress: status.progress! }
          : status,
      );
      return {
        ...lie,
        async submit(request) {
          for (const { operationId, request: asked } of request.operations) {
            const region = asked.case === 'deleteRegion' ? asked.value.region : undefined;
            if (region === undefined || request.node === undefined) continue;
            const { node } = request;
            const { regions } = await truth.listRegions(
              create(ListRegionsRequestSchema, { node, catalogId: region.catalogId }),
            );
            if (!regions.some((one) => one.region?.groupId === region.groupId)) absent.add(operationId);
          }
          return lie.submit(request);
        },
      };
    },
  },
  {
    name: 'overwrites what exists',
    caughtBy: ['regions/exist-with-another-database', 'regions/exist-with-another-kind', 'failures/say-why'],
    lie: (truth) =>
      underAnotherId(truth, async (operation, first, node) => {
        const status = await endOf(truth, node, first);
        if (status.error?.code !== OperationError_Code.ALREADY_EXISTS) return undefined;
        const region = regionOf(operation)!;
        const { operationId, epoch } = withId(operation, { verb: 'delete-region', attempt: 900 });
        const deletion = {
          operationId,
          epoch,
          request: { case: 'deleteRegion' as const, value: { region } },
        };
        await truth.submit(create(SubmitRequestSchema, { node, operations: [deletion] }));
        return again(operation);
      }),
  },
  {
    name: 'drops an end when a higher epoch comes',
    caughtBy: [
      'retention/of-a-superseded-success',
      'retention/of-a-superseded-failure',
      'epochs/before-duplicates',
    ],
    lie: (truth) => {
      const highest = new Map<string, bigint>();
      return {
        submit(request) {
          for (const operation of request.operations) {
            const resource = resourceOf(operation.operationId);
            if (operation.epoch > (highest.get(resource) ?? 0n)) highest.set(resource, operation.epoch);
          }
          return truth.submit(request);
        },
        get: (request) =>
          changed(truth.get(request), (status) => {
            const { operationId } = status;
            const epoch = BigInt(/@(\d+)#/.exec(operationId)?.[1] ?? 0);
            return epoch < (highest.get(resourceOf(operationId)) ?? 0n) ? unknown(operationId) : status;
          }),
      };
    },
  },
  {
    name: 'starts what it is asked about',
    caughtBy: ['submit/get-starts-nothing', 'submit/never-accepted-does-not-exist'],
    lie: (truth) => ({
      async get(request) {
        const response = await truth.get(request);
        const started = response.statuses.filter(
          ({ state, operationId }) =>
            state === OperationState.TASK_NOT_EXIST && operationId.startsWith('delete-region/'),
        );
        const operations = started.map(({ operationId }) => {
          const [, catalogId, groupId] = operationId.split('/');
          const region = { catalogId: catalogId!, groupId: BigInt(groupId!) };
          const epoch = BigInt(/@(\d+)#/.exec(operationId)![1]!);
          return { operationId, epoch, request: { case: 'deleteRegion' as const, value: { region } } };
        });
        if (operations.length === 0) return response;
        await truth.submit(
          create(SubmitRequestSchema, { ...(request.node && { node: request.node }), operations }),
        );
        return truth.get(request);
      },
    }),
  },
  {
    name: 'is another one each time',
    caughtBy: ['identity/is-told'],
    lie: (truth) => {
      let asked = 0;
      return {
        async getNodeInfo() {
          const info = await truth.getNodeInfo();
          // The kit itself asks first.
          asked += 1;
          return asked % 2 === 1 ? info : { ...info, ledgerId: randomUUID() };
        },
      };
    },
  },
];

type Change = (status: OperationStatus) => OperationStatus | Promise<OperationStatus>;

/** The response with each of its statuses changed. */
async function changed<T extends { statuses: OperationStatus[] }>(
  response: Promise<T>,
  change: Change,
): Promise<T> {
  const honest = await response;
  return { ...honest, statuses: await Promise.all(honest.statuses.map(async (status) => change(status))) };
}

/** Changes every status that is told. */
function told(truth: Answers, change: Change): Pick<Answers, 'submit' | 'get' | 'cancel'> {
  return {
    submit: (request) => changed(truth.submit(request), change),
    get: (request) => changed(truth.get(request), change),
    cancel: (request) => changed(truth.cancel(request), change),
  };
}

/**
 * When `instead` answers another operation for one that was submitted, that one is submitted as well, and its status is
 * told from then on.
 */
function underAnotherId(
  truth: Answers,
  instead: (operation: Operation, status: OperationStatus, node: NodeRef) => Promise<Operation | undefined>,
): Partial<Answers> {
  const others = new Map<string, string>();
  const tell = async (status: OperationStatus, node: NodeRef | undefined): Promise<OperationStatus> => {
    const other = others.get(status.operationId);
    if (other === undefined) return status;
    return { ...(await ask(truth, node, other)), operationId: status.operationId };
  };
  return {
    async submit(request) {
      const response = await truth.submit(request);
      for (const [index, status] of response.statuses.entries()) {
        if (request.node === undefined || others.has(status.operationId)) continue;
        const other = await instead(request.operations[index]!, status, request.node);
        if (other === undefined) continue;
        await truth.submit(create(SubmitRequestSchema, { node: request.node, operations: [other] }));
        others.set(status.operationId, other.operationId);
      }
      const statuses = await Promise.all(response.statuses.map((status) => tell(status, request.node)));
      return create(SubmitResponseSchema, { ...(response.now && { now: response.now }), statuses });
    },
    get: (request) => changed(truth.get(request), (status) => tell(status, request.node)),
  };
}

/** Says of what fits, once it was asked to cancel it, that it was canceled. */
function cancelling(truth: Answers, fits: (status: OperationStatus) => boolean): Partial<Answers> {
  const canceled = new Set<string>();
  const lie = told(truth, (status) =>
    canceled.has(status.operationId) ? failed(status.operationId, OperationError_Code.CANCELED) : status,
  );
  return {
    ...lie,
    async cancel(request) {
      const { node, operationIds } = request;
      const { statuses } = await truth.get(create(GetRequestSchema, { ...(node && { node }), operationIds }));
      for (const status of statuses) if (fits(status)) canceled.add(status.operationId);
      return lie.cancel(request);
    },
  };
}

async function ask(truth: Answers, node: NodeRef | undefined, operationId: string): Promise<OperationStatus> {
  const request = create(GetRequestSchema, { ...(node && { node }), operationIds: [operationId] });
  return (await truth.get(request)).statuses[0]!;
}

/** Those of the operations that the node has in this state. */
async function known(
  truth: Answers,
  node: NodeRef | undefined,
  operations: readonly Operation[],
  state: OperationState,
): Promise<Operation[]> {
  if (operations.length > 250) return [];
  const operationIds = operations.map(({ operationId }) => operationId);
  const { statuses } = await truth.get(create(GetRequestSchema, { ...(node && { node }), operationIds }));
  return operations.filter((_, index) => statuses[index]?.state === state);
}

async function endOf(truth: Answers, node: NodeRef, first: OperationStatus): Promise<OperationStatus> {
  let status = first;
  while (status.state === OperationState.PROCESSING) {
    await pause(5);
    status = await ask(truth, node, status.operationId);
  }
  return status;
}

/** Whether the first operations of the resource, as the kit numbers them, are under way. */
async function isBehindAnother(truth: Answers, node: NodeRef, operation: Operation): Promise<boolean> {
  const resource = resourceOf(operation.operationId);
  for (const verb of ['create-region', 'delete-region']) {
    const first = `${verb}/${resource}/${node.nodeId}@1#1`;
    if (first === operation.operationId) continue;
    if ((await ask(truth, node, first)).state === OperationState.PROCESSING) return true;
  }
  return false;
}

/** The same once more, under an id that begins with its own. */
function again(operation: Operation): Operation {
  return { ...operation, operationId: `${operation.operationId}501` };
}

function withId(
  operation: Operation,
  changes: {
    readonly epoch?: bigint;
    readonly attempt?: number;
    readonly verb?: string;
    readonly moveTo?: bigint;
  },
): Operation {
  const match = /^([a-z-]+)\/([^/]+)\/(\d+)\/([^@]+)@(\d+)#(\d+)$/.exec(operation.operationId);
  if (match === null) return operation;
  const [, verb, catalogId, group, node, epoch, attempt] = match;
  const groupId = BigInt(group!) + (changes.moveTo ?? 0n);
  const request = structuredClone(operation.request);
  const moved: Operation = { ...operation, request };
  const region = regionOf(moved);
  if (region !== undefined) region.groupId = groupId;
  return {
    ...moved,
    operationId:
      `${changes.verb ?? verb}/${catalogId}/${groupId}/${node}` +
      `@${changes.epoch ?? epoch}#${changes.attempt ?? attempt}`,
    epoch: changes.epoch ?? operation.epoch,
  };
}

function regionOf({ request }: Operation): RegionRef | undefined {
  return request.case === 'createRegion' || request.case === 'deleteRegion'
    ? request.value.region
    : undefined;
}

/** `<catalog id>/<group id>` */
function resourceOf(operationId: string): string {
  return operationId.split('/').slice(1, 3).join('/');
}

function succeeded(operationId: string): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.SUCCESS,
    started: timestampNow(),
    ended: timestampNow(),
  });
}

function failed(operationId: string, code: OperationError_Code): OperationStatus {
  return create(OperationStatusSchema, {
    operationId,
    state: OperationState.FAIL,
    started: timestampNow(),
    ended: timestampNow(),
    error: { code, message: 'so it is' },
  });
}

function unknown(operationId: string): OperationStatus {
  return create(OperationStatusSchema, { operationId, state: OperationState.TASK_NOT_EXIST });
}
