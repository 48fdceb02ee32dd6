import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { LocalStackError } from './errors.js';
import { freePort, isFree } from './ports.js';

export interface PortNeed {
  /** Such as `temporal`; the name under which the port is remembered. */
  name: string;
  /** Taken the first time, when it is free. */
  preferred?: number;
}

export interface PortQuestion {
  needs: readonly PortNeed[];
  /** By name: what the user insists on. */
  asked: Readonly<Record<string, number | undefined>>;
  /** The file of the ports that earlier starts used. */
  file: string;
  print: (line: string) => void;
}

export type Ports = Readonly<Record<string, number>>;

const Remembered = z.record(z.string(), z.number().int().min(1).max(65_535));

/**
 * A port for every need: what the user asks for, else what was used before, else what is preferred, else any free one.
 * What was used before and is taken by another program is replaced, and said.
 *
 * @throws LocalStackError PORT_IN_USE when the user asks for a port that is in use
 */
export async function choosePorts({ needs, asked, file, print }: PortQuestion): Promise<Ports> {
  const remembered = readRemembered(file, print);
  const ports: Record<string, number> = {};
  for (const { name } of needs) {
    const port = asked[name];
    if (port === undefined) continue;
    const same = Object.keys(ports).find((other) => ports[other] === port);
    if (same !== undefined) {
      throw new LocalStackError(
        'PORT_IN_USE',
        `${same} and ${name} cannot both have port ${port}: ask for two`,
      );
    }
    if (!(await isFree(port))) {
      throw new LocalStackError(
        'PORT_IN_USE',
        `port ${port} of 127.0.0.1, asked for with --${name}-port, is in use by another program: ` +
          'end that program, or ask for another port (or for none: a free one is found then). Nothing was started.',
      );
    }
    ports[name] = port;
  }
  for (const { name, preferred } of needs) {
    if (ports[name] !== undefined) continue;
    const taken = new Set(Object.values(ports));
    const before = remembered[name];
    const wanted = before ?? preferred;
    const usable = wanted !== undefined && !taken.has(wanted) && (await isFree(wanted));
    const port = usable ? wanted : await anyFree(new Set([...taken, ...Object.values(remembered)]));
    if (before !== undefined && !usable) {
      print(`port ${before}, which ${name} used before, is in use by another program: using ${port} instead`);
    }
    ports[name] = port;
  }
  writeFileSync(`${file}.new`, `${JSON.stringify({ ...remembered, ...ports }, undefined, 2)}\n`);
  renameSync(`${file}.new`, file);
  return ports;
}

async function anyFree(except: ReadonlySet<number>): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (!except.has(port)) return port;
  }
}

function readRemembered(file: string, print: (line: string) => void): z.infer<typeof Remembered> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return {};
  }
  try {
    return Remembered.parse(JSON.parse(text));
  } catch {
    print(`${file} cannot be read: choosing the ports anew`);
    return {};
  }
}
