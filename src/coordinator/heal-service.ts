import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { z } from 'zod';
import type { Catalog } from '../catalog/catalog.js';
import { acknowledgeBreaker, readBreaker } from '../catalog/optimizing/breaker.js';
import type { Logger } from '../log.js';
import type { HealService } from '../rpc/gen/steward/coordinator/v1/heal_pb.js';
import { ACTOR_NAME } from '../rules/bounds.js';
import { validated } from './validation.js';

const acknowledgement = z.object({ actor: z.string().regex(ACTOR_NAME) });

/** Shows operators the breaker of the heals, and takes their acknowledgement. */
export function healService(catalog: Catalog, log: Logger): ServiceImpl<typeof HealService> {
  return {
    async getBreaker() {
      const { since, acknowledgedBy, ...breaker } = await readBreaker(catalog);
      return {
        ...breaker,
        acknowledgedBy: acknowledgedBy ?? '',
        ...(since && { since: timestampFromDate(since) }),
      };
    },

    async acknowledgeBreaker(request) {
      const { actor } = validated(acknowledgement, request);
      if (!(await acknowledgeBreaker(catalog, actor))) {
        throw new ConnectError(
          'the breaker is not open: there is nothing to acknowledge',
          Code.FailedPrecondition,
        );
      }
      log.warn({ actor }, 'breaker acknowledged: heals go on');
      return {};
    },
  };
}
