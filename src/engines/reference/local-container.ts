import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type OperationSchema,
  type OperationStatus as OperationStatusMessage,
  SubmitRequestSchema,
} from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import type { NodeClients } from '../../rpc/node-clients.js';
import { formatOperationId, resourcePath, type Verb } from '../../rules/operation-id.js';
import type {
  LaunchAnswer,
  OptimizerContainer,
  OptimizerLaunch,
  OptimizerPlace,
  ReleaseAnswer,
} from '../containers.js';
import type { OperationStatus } from '../nodes.js';
import { readStatus } from './operation-status.js';

/** Optimizers as processes that the nodes start and stop (worker contract: request-resource, release-resource). */
export class LocalContainer implements OptimizerContainer {
  readonly supportsAutoRestart = true;
  readonly onNodes = true;

  constructor(private readonly clients: NodeClients) {}

  async request(launch: OptimizerLaunch): Promise<LaunchAnswer> {
    const { catalogId, resourceId, group, threads, memoryMb, properties } = launch;
    const resource = { catalogId, resourceId };
    const { status, message } = await this.#submit('request-resource', launch, {
      case: 'requestResource',
      value: { resource, group, threads, memoryMb, properties: { ...properties } },
    });
    const open = openAnswer(status);
    if (open !== undefined) return open;
    const result = message.result;
    if (result.case !== 'resource')
      return { state: 'FAILED', reason: 'the node did not say what it started' };
    const { processId, ...started } = result.value;
    return {
      state: 'STARTED',
      processId,
      threads: started.threads,
      memoryMb: started.memoryMb,
      properties: started.properties,
    };
  }

  async release(place: OptimizerPlace): Promise<ReleaseAnswer> {
    const resource = { catalogId: place.catalogId, resourceId: place.resourceId };
    const { status } = await this.#submit('release-resource', place, {
      case: 'releaseResource',
      value: { resource },
    });
    return openAnswer(status) ?? { state: 'RELEASED' };
  }

  async #submit(
    verb: Verb,
    { catalogId, resourceId, epoch, attempt, node }: OptimizerPlace,
    request: NonNullable<MessageInitShape<typeof OperationSchema>['request']>,
  ): Promise<{ status: OperationStatus; message: OperationStatusMessage }> {
    if (node === undefined) throw new Error(`${resourceId} has no node`);
    const path = resourcePath({ catalogId, resourceId });
    const operationId = formatOperationId({ verb, path, nodeId: node.nodeId, epoch, attempt });
    const submission = create(SubmitRequestSchema, {
      node: { nodeId: node.nodeId, ledgerId: node.ledgerId },
      operations: [{ operationId, epoch: BigInt(epoch), request }],
    });
    const { statuses, now } = await this.clients.call(node, (client) => client.operations.submit(submission));
    const message = statuses[0];
    const status = readStatus(operationId, message, now);
    return { status, message: message! };
  }
}

/** What is not SUCCESS, as both answers tell it. */
function openAnswer(
  status: OperationStatus,
): { readonly state: 'PENDING' | 'FAILED'; readonly reason: string } | undefined {
  switch (status.state) {
    case 'SUCCESS':
      return undefined;
    case 'FAIL':
      return { state: 'FAILED', reason: `${status.code}: ${status.message}` };
    case 'PROCESSING':
      return { state: 'PENDING', reason: `under way for ${status.ageMs} ms` };
    case 'TASK_NOT_EXIST':
      return { state: 'PENDING', reason: 'not accepted yet' };
    case 'REFUSED': {
      const reason = `refused, ${status.code}: ${status.message}`;
      return { state: status.code === 'RESOURCE_EXHAUSTED' ? 'PENDING' : 'FAILED', reason };
    }
  }
}
