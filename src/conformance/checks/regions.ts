import { RegionKind } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { group } from '../check.js';
import type { Probe } from '../probe.js';
import { demand } from '../violation.js';

async function demandListed(probe: Probe, ...expected: readonly string[]): Promise<void> {
  const found = await probe.listed();
  demand(
    found.join() === expected.join(),
    `ListRegions to list ${expected.join(', ') || 'no region of this catalog'}`,
    found.join(', ') || 'none listed',
  );
}

/** What a creation and a deletion do. */
export const REGIONS = group('regions', ['regions'], {
  'are-created-as-asked': {
    rule: 'SUCCESS of a creation: the region exists with the database and kind that were asked for',
    async run(probe) {
      await probe.createAll(
        probe.creation(1, { database: 'sales' }),
        probe.creation(2, { database: 'stock', kind: RegionKind.SCHEMA }),
      );
      await demandListed(probe, '1 sales DATA PRESENT', '2 stock SCHEMA PRESENT');
    },
  },
  'are-deleted': {
    rule: 'SUCCESS of a deletion: nothing of the region is left on the node',
    async run(probe) {
      await probe.createAll(probe.creation(1), probe.creation(2));
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      await probe.demandPresent(2);
    },
  },
  'exist-as-asked': {
    rule: 'creating a region that exists with the same database and kind is SUCCESS, and it is not touched',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { attempt: 2 }), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { epoch: 2 }), 'SUCCESS');
      await demandListed(probe, '1 conformance DATA PRESENT');
    },
  },
  'exist-with-another-database': {
    rule: 'creating a region that exists with another database is FAIL(ALREADY_EXISTS), and it is not touched',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { attempt: 2, database: 'other' }), 'FAIL(ALREADY_EXISTS)');
      await demandListed(probe, '1 conformance DATA PRESENT');
    },
  },
  'exist-with-another-kind': {
    rule: 'creating a region that exists with another kind is FAIL(ALREADY_EXISTS), and it is not touched',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await probe.expectEnd(
        probe.creation(1, { attempt: 2, kind: RegionKind.SCHEMA }),
        'FAIL(ALREADY_EXISTS)',
      );
      await demandListed(probe, '1 conformance DATA PRESENT');
    },
  },
  'absent-are-deleted': {
    rule: 'deleting a region that is absent is SUCCESS',
    async run(probe) {
      await probe.expectEnd(probe.deletion(1), 'SUCCESS');
      await probe.expectEnd(probe.creation(2), 'SUCCESS');
      await probe.expectEnd(probe.deletion(2), 'SUCCESS');
      await probe.expectEnd(probe.deletion(2, { attempt: 2 }), 'SUCCESS');
      await probe.demandPresent();
    },
  },
  'come-back-when-asked': {
    rule: 'a region that was deleted can be created again, as it is asked for then',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      await probe.expectEnd(probe.deletion(1, { epoch: 2 }), 'SUCCESS');
      await probe.expectEnd(probe.creation(1, { epoch: 3, database: 'other' }), 'SUCCESS');
      await demandListed(probe, '1 other DATA PRESENT');
    },
  },
  'of-catalogs-are-apart': {
    rule: 'the same group id of another catalog is another region, with an epoch of its own',
    async run(probe) {
      await probe.expectEnd(probe.creation(1, { epoch: 9 }), 'SUCCESS');
      const other = probe.sibling();
      await other.expectEnd(other.creation(1, { database: 'other' }), 'SUCCESS');
      await demandListed(probe, '1 conformance DATA PRESENT');
      await demandListed(other, '1 other DATA PRESENT');
      await other.expectEnd(other.deletion(1), 'SUCCESS');
      await demandListed(probe, '1 conformance DATA PRESENT');
    },
  },
});
