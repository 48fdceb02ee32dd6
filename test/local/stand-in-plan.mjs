// A stack of stand-ins: a store that outlives its supervisor, as PostgreSQL and Temporal do, and two processes that do
// not. STAND_IN holds more arguments by name: {"worker": ["--deaf"]}.
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startProcess } from '../../dist/src/local/child-process.js';

const program = fileURLToPath(new URL('stand-in.mjs', import.meta.url));
const more = JSON.parse(process.env.STAND_IN ?? '{}');

export const plan = {
  ports: [
    { name: 'temporal', preferred: Number(process.env.PREFERRED_PORT) || undefined },
    { name: 'coordinator' },
  ],
  prepare: ({ layout, port }) => {
    const service = (name, stages, ready, args) => ({
      name,
      log: layout.log(name),
      stopSignal: 'SIGTERM',
      ...stages,
      start: (launch) =>
        startProcess(
          {
            name,
            command: process.execPath,
            args: [
              program,
              `--name=${name}`,
              `--journal=${join(layout.home, 'journal')}`,
              ...args,
              ...(more[name] ?? []),
            ],
            logFile: layout.log(name),
            ready,
            readyTimeoutMs: 20_000,
            stopSignal: 'SIGTERM',
            // Longer than any test: what is deaf ends when it is hastened.
            stopTimeoutMs: 600_000,
          },
          launch,
        ),
    });
    const byLine = { by: 'line' };
    const byPort = { by: 'probe', probe: () => answers(port('temporal')) };
    return Promise.resolve({
      services: [
        service('temporal', { startStage: 1, stopStage: 3 }, byPort, [`--port=${port('temporal')}`]),
        service('coordinator', { startStage: 2, stopStage: 2 }, byLine, ['--exit-with-parent']),
        service('worker', { startStage: 3, stopStage: 1 }, byLine, ['--exit-with-parent']),
      ],
      addresses: {
        databaseUrl: 'postgres://steward:secret@127.0.0.1:5432/steward',
        temporal: `127.0.0.1:${port('temporal')}`,
        temporalNamespace: 'default',
        webUi: 'http://127.0.0.1:8233',
        coordinator: `http://127.0.0.1:${port('coordinator')}`,
        nodes: {},
      },
    });
  },
};

function answers(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy())).on('error', reject);
  });
}
