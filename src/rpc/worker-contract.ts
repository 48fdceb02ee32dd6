import { Code } from '@connectrpc/connect';
import { InventoryService } from './gen/steward/worker/v1/inventory_pb.js';
import { OperationService } from './gen/steward/worker/v1/operation_pb.js';

/** What the descriptors of the worker contract say about calls that can be disturbed. */

/** Not NodeService, which tells who a node is however it misbehaves, and not FaultService itself. */
const DISTURBED_SERVICES = [OperationService, InventoryService];

/** Names of the RPCs: `Submit`, `Get`, ... */
export const RPC_TARGETS: readonly string[] = DISTURBED_SERVICES.flatMap(({ methods }) =>
  methods.map(({ name }) => name),
);

const CODES = new Map(
  Object.entries(Code).flatMap(([name, code]) =>
    typeof code === 'number' ? [[name.replace(/[a-z](?=[A-Z])/g, '$&_').toLowerCase(), code as Code]] : [],
  ),
);

/** Names of the Connect codes: `unavailable`, `resource_exhausted`, ... */
export const CODE_NAMES: readonly string[] = [...CODES.keys()];

/** The Connect code of that name. */
export function codeNamed(name: string): Code | undefined {
  return CODES.get(name);
}
