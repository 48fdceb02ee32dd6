import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { projectRoot } from '../../src/project.js';
import { readTracing } from '../../src/tracing/setting.js';
import { checkComposeFile, isSteward } from './compose-file.js';

type Services = Record<string, { environment?: Record<string, string> }>;

const read = (name: string) =>
  parse(readFileSync(join(projectRoot, name), 'utf8'), { merge: true }) as { services: Services };

/** As `docker compose --file ... --file ...` puts them together. */
function together() {
  const base = read('docker-compose.yml');
  const added = read('deploy/compose.traces.yml');
  const services: Services = { ...base.services };
  for (const [name, service] of Object.entries(added.services)) {
    const before = base.services[name];
    services[name] = {
      ...before,
      ...service,
      environment: { ...before?.environment, ...service.environment },
    };
  }
  return checkComposeFile(JSON.stringify({ ...base, services }));
}

test('with deploy/compose.traces.yml every process that runs on sends its spans to a collector that it reaches', () => {
  const { services } = together();
  // The codec server is asked by browsers, on behalf of no operation.
  const running = Object.entries(services).filter(
    ([name, one]) => isSteward(one) && one.healthcheck && name !== 'codec-server',
  );
  expect(running).toHaveLength(7);
  for (const [name, { environment = {}, networks }] of running) {
    expect(readTracing(environment), name).toEqual({ kind: 'ON' });
    const collector = services[new URL(environment['OTEL_EXPORTER_OTLP_ENDPOINT']!).hostname]!;
    expect(
      Object.keys(collector.networks).filter((one) => one in networks),
      name,
    ).not.toEqual([]);
  }
  expect(services['jaeger']!.ports).toEqual(['127.0.0.1:16686:16686']);
});
