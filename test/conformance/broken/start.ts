import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { projectRoot } from '../../../src/project.js';
import { temporaryDirectory } from '../../support/guard.js';
import { startProgram, type TestProcess } from '../../support/processes.js';

/** Builds the program of the broken nodes to where `builtProgram` finds it. */
export async function buildBrokenNodes(): Promise<void> {
  await build({
    configFile: false,
    logLevel: 'error',
    root: projectRoot,
    build: {
      ssr: fileURLToPath(new URL('main.ts', import.meta.url)),
      outDir: 'dist/test/conformance/broken',
      emptyOutDir: false,
      target: 'node20',
      minify: false,
      rollupOptions: { output: { entryFileNames: 'main.js', format: 'es' } },
    },
  });
}

/** Starts the broken node of this name as a process of its own. */
export async function startBrokenNode(
  name: string,
  port: number,
): Promise<{ process: TestProcess; end: () => Promise<void> }> {
  const home = temporaryDirectory('broken-node');
  const flags = ['--id', 'node-1', '--data', `${home.path}/data`, '--files-per-region', '1'];
  try {
    const process = await startProgram({
      name: 'broken-node',
      program: 'test/conformance/broken/main.ts',
      directory: home.path,
      args: [name, ...flags, '--listen', `127.0.0.1:${port}`, '--allow-faults'],
    });
    return {
      process,
      async end() {
        if (process.running) await process.kill();
        await home.remove();
      },
    };
  } catch (error) {
    await home.remove();
    throw error;
  }
}
