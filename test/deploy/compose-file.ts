import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../src/project.js';
import { composeComplaints } from './schemas.js';

/** How our file writes what the compose specification allows in several ways; a key that it does not use fails. */
const name = z.string().regex(/^[a-zA-Z0-9._-]+$/);
const duration = z.string().regex(/^(\d+(us|ms|s|m|h))+$/);
const bytes = z.string().regex(/^\d+[bkmg]$/);

const service = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.string(), dockerfile: z.string() }).optional(),
  user: z.string(),
  init: z.boolean().optional(),
  restart: z.string().regex(/^(no|always|unless-stopped|on-failure(:\d+)?)$/),
  read_only: z.boolean(),
  tmpfs: z.array(z.string()),
  cap_drop: z.array(z.string()),
  security_opt: z.array(z.string()),
  logging: z.strictObject({ driver: z.string(), options: z.record(z.string(), z.string()) }),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  secrets: z.array(z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  networks: z
    .union([
      z.array(name).transform((names) => Object.fromEntries(names.map((one) => [one, {}]))),
      z.record(name, z.strictObject({ aliases: z.array(name).optional() })),
    ])
    .transform((networks): Record<string, { aliases?: string[] | undefined }> => networks),
  ports: z.array(z.string()).optional(),
  depends_on: z
    .record(
      name,
      z.strictObject({
        condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']),
      }),
    )
    .optional(),
  healthcheck: z
    .strictObject({
      test: z.tuple([z.enum(['CMD', 'CMD-SHELL'])], z.string()),
      interval: duration,
      timeout: duration,
      retries: z.int(),
      start_period: duration,
      start_interval: duration.optional(),
    })
    .optional(),
  stop_signal: z.string().optional(),
  stop_grace_period: duration.optional(),
  mem_limit: bytes,
  pids_limit: z.int(),
  cpus: z.number(),
  shm_size: bytes.optional(),
});

const composeFile = z
  .object({
    name: z.string().regex(/^[a-z0-9][a-z0-9_-]*$/),
    services: z.record(name, service),
    networks: z.record(name, z.strictObject({ internal: z.boolean().optional() })),
    volumes: z.record(name, z.strictObject({})),
    secrets: z.record(name, z.strictObject({ file: z.string() })),
  })
  // Templates for YAML's own merging.
  .catchall(z.unknown());

export type ComposeFile = z.infer<typeof composeFile>;
export type ComposeService = z.infer<typeof service>;

const complaints = composeComplaints();

/** docker-compose.yml, checked. */
export function readComposeFile(): ComposeFile {
  return checkComposeFile(readFileSync(join(projectRoot, 'docker-compose.yml'), 'utf8'));
}

/** Against the compose specification first, then against our way of writing it. */
export function checkComposeFile(text: string): ComposeFile {
  const document = parse(text, { merge: true }) as unknown;
  const wrong = complaints(document);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  return composeFile.parse(document);
}

/** Whether it runs an image of ours. */
export function isSteward({ image }: ComposeService): boolean {
  return image.startsWith('steward:');
}
