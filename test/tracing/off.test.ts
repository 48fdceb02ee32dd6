import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { steward } from '../cli/steward-command.js';
import { temporaryDirectory } from '../support/guard.js';
import { startProgram } from '../support/processes.js';

const HOOK = fileURLToPath(new URL('../cli/loaded-modules.cjs', import.meta.url));
const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
const SDK = '@opentelemetry/sdk-trace-base';

test('a node loads nothing of OpenTelemetry unless it is told where spans go; wrong variables are told, and no failure', async () => {
  expect(await loadedByNode({})).not.toContain('@opentelemetry');
  expect(await loadedByNode(ON)).toContain(SDK);
  const wrong = await loadedByNode({ ...ON, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
  expect(wrong).not.toContain(SDK);
  expect(wrong).toContain('traces are off: OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not grpc');
});

test('a command whose variables are wrong does its work', async () => {
  const shown = await steward(['--version'], { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense' } });
  expect(shown).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

/** The log of a node that was started and stopped; its last line names the packages that it had loaded. */
async function loadedByNode(env: Record<string, string>): Promise<string> {
  const home = temporaryDirectory('off');
  try {
    const node = await startProgram({
      name: 'node-1',
      program: 'src/node/main.ts',
      args: ['--id=node-1', `--data=${home.path}/data`, '--listen=127.0.0.1:0'],
      env: { NODE_OPTIONS: `--require ${HOOK}`, ...env },
      directory: home.path,
    });
    expect(await node.stop()).toMatchObject({ code: 0 });
    const log = readFileSync(node.logFile, 'utf8');
    expect(log).toContain('LOADED ["');
    return log;
  } finally {
    await home.remove();
  }
}
