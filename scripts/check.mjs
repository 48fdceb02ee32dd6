// Static checks: types, format and lint, floating promises, protocol buffers, and that the generated code is current.
// Runs all of them, and exits with 1 when one failed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const scratch = mkdtempSync(join(tmpdir(), 'steward-check-'));
const template = readFileSync('buf.gen.yaml', 'utf8').replace('src/rpc/gen', join(scratch, 'gen'));
writeFileSync(join(scratch, 'buf.gen.yaml'), template);

const CHECKS = [
  ['types', 'tsc --noEmit'],
  ['format and lint', 'biome check --error-on-warnings .'],
  ['floating promises', 'oxlint --type-aware --deny-warnings src workflows activities test bench'],
  ['protocol buffers', 'buf lint'],
  // A file, so that a shallow clone without tags has it too.
  ['contract as last released', 'buf breaking --against proto/contract-as-last-released.binpb'],
  ['generated code', `buf generate --template ${scratch}/buf.gen.yaml && diff -r ${scratch}/gen src/rpc/gen`],
];

let failed = 0;
for (const [name, command] of CHECKS) {
  const { status, stdout, stderr } = spawnSync(command, {
    shell: true,
    encoding: 'utf8',
    env: { ...process.env, PATH: `node_modules/.bin:${process.env.PATH}` },
  });
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}`);
  if (status !== 0) {
    failed += 1;
    console.log(stdout + stderr);
  }
}
rmSync(scratch, { recursive: true });
process.exit(failed === 0 ? 0 : 1);
