import { randomUUID } from 'node:crypto';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { group } from '../check.js';
import { demand, demandSame } from '../violation.js';

const PAGES = 20;

const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** What is on the node, whoever made it (I4). */
export const INVENTORY = group('inventory', ['regions'], {
  'in-pages': {
    rule: 'ListRegions answers each region once, in the order of the group id, however small the pages are',
    async run(probe) {
      const groups = [...ids(6), 10, 100, 1_000];
      await probe.createAll(...groups.toReversed().map((groupId) => probe.creation(groupId)));
      for (const pageSize of [0, 1, 4, 1_000]) {
        const found = (await probe.regions(pageSize)).map(({ region }) => Number(region?.groupId));
        demandSame(found, groups, `with page_size ${pageSize}, the groups in their order`);
      }
      const page = await probe.inventory.listRegions({
        node: probe.ref,
        catalogId: probe.catalogId,
        pageSize: 4,
      });
      demand(page.regions.length <= 4, 'at most 4 regions', String(page.regions.length), page);
    },
  },
  'of-one-catalog': {
    rule: 'ListRegions with a catalog id lists no region of another catalog; without one it lists all',
    async run(probe) {
      await probe.createAll(probe.creation(1), probe.creation(2));
      const other = probe.sibling();
      await other.createAll(other.creation(3));
      await probe.demandPresent(1, 2);
      await other.demandPresent(3);
      const nobody = { node: probe.ref, catalogId: randomUUID() };
      const none = await probe.inventory.listRegions(nobody);
      demand(none.regions.length === 0, 'no region', String(none.regions.length), none);
      const seen = new Set<string>();
      for (let pageToken = ''; ; ) {
        const page = await probe.inventory.listRegions({ node: probe.ref, pageToken });
        for (const { region } of page.regions) seen.add(`${region?.catalogId}/${region?.groupId}`);
        pageToken = page.nextPageToken;
        if (pageToken === '') break;
      }
      for (const region of [`${probe.catalogId}/1`, `${probe.catalogId}/2`, `${other.catalogId}/3`]) {
        demand(seen.has(region), `${region} among all regions`, 'it is not listed');
      }
    },
  },
  'tells-ages': {
    rule: 'a region is as old as it is by the clock of the node: its age is set and does not fall',
    async run(probe) {
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
      const [first] = await probe.regions();
      const [second] = await probe.regions();
      demand(first?.age !== undefined, 'an age', 'none', first);
      demand(second?.age !== undefined, 'an age', 'none', second);
      const [was, is] = [durationMs(first.age), durationMs(second.age)];
      demand(was >= 0 && is >= was, `an age of at least ${was} ms`, `${is} ms`, second);
    },
  },
  'back-to-baseline': {
    rule: 'I4: after as many deletions as creations the node lists what it listed before',
    async run(probe) {
      const groups = ids(8);
      for (const round of [1, 3, 5]) {
        await probe.createAll(...groups.map((groupId) => probe.creation(groupId, { epoch: round })));
        await probe.demandPresent(...groups);
        const deletions = groups.map((groupId) => probe.deletion(groupId, { epoch: round + 1 }));
        await probe.createAll(...deletions);
        await probe.demandPresent();
      }
    },
  },
  'failures-leave-nothing': {
    rule: 'I4: a creation that failed leaves nothing behind',
    needs: ['faults'],
    async run(probe) {
      const operation = probe.creation(1);
      const kind = { case: 'fail', value: { message: 'conformance: as you wish' } } as const;
      await probe.fault(operation, { target: 'create-region', kind });
      await probe.expectEnd(operation, 'FAIL');
      await probe.demandPresent();
    },
  },
  'bad-page': {
    rule: 'I10: a page token that no page gave, or a page_size above 1,000, is INVALID_ARGUMENT',
    async run(probe) {
      const node = probe.ref;
      for (const page of [{ pageSize: 1_001 }, { pageSize: 2 ** 32 - 1 }, { pageToken: 'junk' }]) {
        await probe.demandRefused(probe.inventory.listRegions({ node, ...page }), Code.InvalidArgument);
      }
      await probe.demandRefused(probe.inventory.listEpochs({ node, pageSize: 1_001 }), Code.InvalidArgument);
    },
  },
  'epochs-in-pages': {
    rule: 'ListEpochs answers each resource once, in the order of its bytes, however small the pages are',
    async run(probe) {
      const groups = [1, 2, 10, 11, 100];
      for (const groupId of groups) {
        await probe.expectEnd(probe.deletion(groupId, { epoch: groupId }), 'SUCCESS');
      }
      const whole = await probe.allEpochs();
      // A node that is checked often has many: a number of pages that stays, however many there are.
      const parts = await probe.allEpochs(Math.min(Math.ceil(whole.length / PAGES), 1_000));
      for (const listed of [whole, parts]) {
        const ours = listed.filter(({ resource }) => resource.startsWith(`region/${probe.catalogId}/`));
        demandSame(
          ours.map(({ resource, epoch }) => `${resource.split('/')[2]}@${epoch}`),
          [1, 10, 100, 11, 2].map((groupId) => `${groupId}@${groupId}`),
          'the resources of this catalog, once and in order',
        );
        const out = listed.findIndex(
          ({ resource }, index) => index > 0 && bytesOrder(listed[index - 1]!.resource, resource) >= 0,
        );
        demand(
          out < 0,
          'resources in the order of their bytes',
          () => `${listed[out]?.resource} out of order`,
        );
      }
    },
  },
});

function bytesOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
