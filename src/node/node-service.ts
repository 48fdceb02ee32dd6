import { statfs } from 'node:fs/promises';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { NodeService } from '../rpc/gen/steward/worker/v1/node_pb.js';
import type { NodeIdentity } from './node-identity.js';
import type { Turns } from './turns.js';

/** Tells who the node is, and how it stands. */
export function nodeService(
  identity: NodeIdentity,
  data: string,
  turns: Turns,
): ServiceImpl<typeof NodeService> {
  return {
    async getNodeInfo() {
      return {
        ...identity,
        capabilities: [...identity.capabilities],
        ...(await diskSpace(data)),
        now: timestampFromDate(new Date()),
        load: turns.load(),
      };
    },
  };
}

/** Nothing when the file system does not say. */
async function diskSpace(path: string): Promise<{ diskTotalBytes?: bigint; diskFreeBytes?: bigint }> {
  try {
    const { bsize, blocks, bavail } = await statfs(path, { bigint: true });
    return { diskTotalBytes: bsize * blocks, diskFreeBytes: bsize * bavail };
  } catch {
    return {};
  }
}
