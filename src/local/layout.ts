import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Where a local stack keeps everything: one directory, which can be removed as a whole. */
export interface Layout {
  home: string;
  /** Survives every stop. */
  data: string;
  logs: string;
  /** Of the running stack only. */
  run: string;
  stackFile: string;
  lock: string;
  portsFile: string;
  log: (process: string) => string;
}

/** `$STEWARD_HOME`, else `.steward` in the current directory. */
export function stewardHome(env: NodeJS.ProcessEnv = process.env): string {
  return resolve(env['STEWARD_HOME'] || '.steward');
}

export function layoutOf(home: string): Layout {
  const run = join(home, 'run');
  const logs = join(home, 'logs');
  return {
    home,
    data: join(home, 'data'),
    logs,
    run,
    stackFile: join(run, 'stack.json'),
    lock: join(run, 'lock'),
    portsFile: join(home, 'ports.json'),
    log: (process) => join(logs, `${process}.log`),
  };
}

export function makeDirectories(layout: Layout): void {
  mkdirSync(layout.data, { recursive: true });
  mkdirSync(layout.logs, { recursive: true });
  // Holds the password of the database and the socket that controls the stack.
  mkdirSync(layout.run, { recursive: true, mode: 0o700 });
}
