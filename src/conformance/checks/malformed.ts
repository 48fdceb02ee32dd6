import { randomUUID } from 'node:crypto';
import { RegionKind } from '../../rpc/gen/steward/worker/v1/operation_pb.js';
import { type Check, type GroupEntry, group } from '../check.js';
import { type Asked, demandSaid } from '../operations.js';
import type { Probe } from '../probe.js';
import { demand } from '../violation.js';

/** One way in which an operation can be wrong: what is changed of a creation and a deletion that are right. */
type Spoil = (probe: Probe, creation: Asked, deletion: Asked) => readonly Asked[];

/** Sees that every one of them is refused alone, and that nothing comes of it. */
function refused(what: string, spoil: Spoil): GroupEntry {
  return {
    rule: `I10: ${what} is REFUSED(INVALID_ARGUMENT), says why and changes nothing`,
    async run(probe) {
      const spoiled = spoil(probe, probe.creation(1), probe.deletion(1));
      const good = [probe.creation(2), probe.creation(3)] as const;
      const answers = await probe.submit(good[0], ...spoiled, good[1]);
      for (const status of answers.slice(1, -1)) {
        demandSaid(status, 'REFUSED(INVALID_ARGUMENT)');
        demand((status.refusal?.message ?? '') !== '', 'a message that says why', 'none', status);
      }
      for (const end of await probe.finish(...good)) demandSaid(end, 'SUCCESS');
      for (const status of await probe.get(...spoiled)) demandSaid(status, 'TASK_NOT_EXIST');
      await probe.demandPresent(2, 3);
      // No epoch was raised either.
      await probe.expectEnd(probe.creation(1), 'SUCCESS');
    },
  };
}

function withId(operation: Asked, change: (id: string) => string): Asked {
  return { ...operation, operationId: change(operation.operationId) };
}

type CreateRegion = Extract<Asked['request'], { readonly case: 'createRegion' }>['value'];

function withRequest(creation: Asked, change: (value: CreateRegion) => object): Asked {
  if (creation.request?.case !== 'createRegion') throw new Error('not a creation');
  const { value } = creation.request;
  return { ...creation, request: { case: 'createRegion', value: { ...value, ...change(value) } } };
}

/** Operations that make no sense. Each is sent between two that do. */
export const MALFORMED: readonly Check[] = group('malformed', ['regions'], {
  'empty-id': refused('an empty operation id', (_probe, creation) => [withId(creation, () => '')]),
  'id-of-another-form': refused('an operation id of another form', (_probe, creation) => [
    withId(creation, (id) => id.replace(/#\d+$/, '')),
    withId(creation, (id) => id.replace(/@\d+#/, '#')),
    withId(creation, (id) => `${id} `),
    withId(creation, (id) => `${id}#1`),
    withId(creation, (id) => id.replace('create-region/', '')),
    withId(creation, () => '../../../../etc/passwd'),
    withId(creation, () => '\u0000'),
  ]),
  'unknown-verb': refused('an unknown verb', (_probe, creation) => [
    withId(creation, (id) => id.replace('create-region', 'paint-region')),
  ]),
  'huge-id': refused('an operation id of more than 512 bytes', (_probe, creation) => [
    withId(creation, (id) => id.replace(/\/([^/@]*)@/, `/${'n'.repeat(600)}@`)),
    withId(creation, (id) => id.replace(/#\d+$/, `#${'1'.repeat(600)}`)),
  ]),
  'number-with-leading-zeros': refused('an id whose numbers have leading zeros', (_probe, creation) => [
    withId(creation, (id) => id.replace('/1/', '/001/')),
    withId(creation, (id) => id.replace('@1#', '@01#')),
    withId(creation, (id) => id.replace(/#1$/, '#01')),
  ]),
  'id-of-another-node': refused('an operation of another node', (probe) => [
    probe.creation(1, { nodeId: 'somebody-else' }),
    probe.deletion(1, { nodeId: 'somebody-else' }),
  ]),
  'group-id-0': refused('group id 0', (probe) => [probe.creation(0), probe.deletion(0)]),
  'huge-group-id': refused('a group id that is too large', (probe, creation) => {
    const huge = 10n ** 15n;
    return [
      withId(creation, (id) => id.replace('/1/', `/${'9'.repeat(30)}/`)),
      {
        ...withRequest(creation, () => ({ region: { catalogId: probe.catalogId, groupId: huge } })),
        operationId: creation.operationId.replace('/1/', `/${huge}/`),
      },
    ];
  }),
  'epoch-0': refused('epoch 0', (probe) => [
    probe.creation(1, { epoch: 0 }),
    probe.deletion(1, { epoch: 0 }),
  ]),
  'epoch-of-another': refused(
    'an epoch that differs from the one in the id',
    (_probe, creation, deletion) => [
      { ...creation, epoch: 2n },
      { ...deletion, epoch: 0n },
      { ...creation, epoch: 2n ** 64n - 1n },
    ],
  ),
  'attempt-0': refused('attempt 0', (probe) => [probe.creation(1, { attempt: 0 })]),
  'no-request': refused('an operation without a request', (_probe, { operationId, epoch }) => [
    { operationId, epoch },
  ]),
  'request-of-another-verb': refused(
    'a request of another verb than the id says',
    (_probe, creation, deletion) => [
      { ...creation, request: deletion.request! },
      { ...deletion, request: creation.request! },
    ],
  ),
  'no-region': refused('a request for no region', (_probe, creation, deletion) => [
    withRequest(creation, () => ({ region: undefined })),
    { ...deletion, request: { case: 'deleteRegion', value: {} } },
  ]),
  'another-group': refused('a request for another group than the id says', (probe, creation, deletion) => {
    const region = { catalogId: probe.catalogId, groupId: 4n };
    return [
      withRequest(creation, () => ({ region })),
      { ...deletion, request: { case: 'deleteRegion', value: { region } } },
    ];
  }),
  'another-catalog': refused('a request for another catalog than the id says', (_probe, creation) => [
    withRequest(creation, () => ({ region: { catalogId: randomUUID(), groupId: 1n } })),
  ]),
  'no-catalog-uuid': refused('a catalog id that is no UUID', (probe, creation) => {
    const catalogId = 'catalog';
    return [
      {
        ...withRequest(creation, () => ({ region: { catalogId, groupId: 1n } })),
        operationId: creation.operationId.replace(probe.catalogId, catalogId),
      },
    ];
  }),
  'database-name': refused('a database name of 0 or more than 255 bytes', (_probe, creation) => [
    withRequest(creation, () => ({ database: '' })),
    withRequest(creation, () => ({ database: 'd'.repeat(256) })),
    withRequest(creation, () => ({ database: 'é'.repeat(128) })),
  ]),
  'region-kind': refused('a region that is neither SCHEMA nor DATA', (_probe, creation) => [
    withRequest(creation, () => ({ kind: RegionKind.UNSPECIFIED })),
    withRequest(creation, () => ({ kind: 17 })),
  ]),
  peers: refused(
    'a creation whose peers are none, too many, empty, or without this node',
    (probe, creation) => [
      withRequest(creation, () => ({ peers: [] })),
      withRequest(creation, () => ({ peers: ['node-a', 'node-b'] })),
      withRequest(creation, () => ({ peers: [probe.node.nodeId, ''] })),
      withRequest(creation, () => ({
        peers: [probe.node.nodeId, ...Array.from({ length: 64 }, (_, i) => `peer-${i}`)],
      })),
    ],
  ),
});
