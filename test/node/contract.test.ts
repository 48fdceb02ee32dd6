import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DescFile } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { projectRoot } from '../../src/project.js';
import { RPC_TARGETS } from '../../src/rpc/worker-contract.js';
import { temporaryDirectory } from '../support/guard.js';

let home: ReturnType<typeof temporaryDirectory>;
beforeEach(() => {
  home = temporaryDirectory('contract');
  cpSync(join(projectRoot, 'proto'), join(home.path, 'proto'), { recursive: true });
  cpSync(join(projectRoot, 'buf.yaml'), join(home.path, 'buf.yaml'));
});
afterEach(() => home.remove());

/** What `buf breaking` says of the contract, after these replacements in one of its files. */
function breaking(file: string, ...changes: readonly (readonly [from: string, to: string])[]): string {
  const path = join(home.path, 'proto/steward/worker/v1', file);
  let text = readFileSync(path, 'utf8');
  for (const [from, to] of changes) {
    expect(text, from).toContain(from);
    text = text.replace(from, to);
  }
  writeFileSync(path, text);
  const buf = join(projectRoot, 'node_modules/.bin/buf');
  const image = 'proto/contract-as-last-released.binpb';
  const { stdout, stderr } = spawnSync(buf, ['breaking', '--against', image], {
    cwd: home.path,
    encoding: 'utf8',
  });
  return stdout + stderr;
}

test('the contract breaks nothing that was released, and may grow', () => {
  const added = breaking(
    'operation.proto',
    ['  oneof request {', '  oneof request {\n    DeleteRegion drop_region = 1000;'],
    ['message GetRequest {', 'message GetRequest {\n  string why = 1000;'],
    ['  rpc Get(', '  rpc GetAgain(GetRequest) returns (GetResponse);\n  rpc Get('],
  );
  expect(added).toBe('');
});

test.each([
  [
    'a field that is renumbered',
    'uint64 epoch = 2;',
    'uint64 epoch = 1002;',
    /"epoch" on message "Operation"/,
  ],
  ['a field of another type', 'uint64 epoch = 2;', 'int32 epoch = 2;', /changed type/],
  ['an RPC that is renamed', 'rpc Submit(', 'rpc SubmitAll(', /RPC "Submit" .* was deleted/],
  ['a code that is renumbered', 'CODE_IO = 6;', 'CODE_IO = 1006;', /enum value "6"/],
] as const)('%s breaks the contract', (_what, from, to, said) => {
  expect(breaking('operation.proto', [from, to])).toMatch(said);
});

test('every RPC of the contract can be disturbed, but for those that tell who a node is and how it misbehaves', async () => {
  const generated = join(projectRoot, 'src/rpc/gen/steward/worker/v1');
  const modules = await Promise.all(
    readdirSync(generated).map((file) => import(join(generated, file)) as Promise<Record<string, unknown>>),
  );
  const files = modules.flatMap((module) =>
    Object.entries(module).flatMap(([name, value]) => (name.startsWith('file_') ? [value as DescFile] : [])),
  );
  const services = files.flatMap((file) => file.services);
  expect(services.map(({ name }) => name)).toContain('FaultService');
  const disturbed = services.filter(({ name }) => name !== 'FaultService' && name !== 'NodeService');
  expect([...RPC_TARGETS].sort()).toEqual(
    disturbed.flatMap(({ methods }) => methods.map(({ name }) => name)).sort(),
  );
});
