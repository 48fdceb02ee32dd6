import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Containers, externalContainer, type OptimizerContainer } from '../engines/containers.js';
import { LocalContainer } from '../engines/local-container.js';
import type { OptimizerEngine } from '../engines/optimizers.js';

/**
 * `local`, `external`, and what the module exports as `containers` (an object by name). Throws an Error that says what is
 * wrong with the module.
 */
export async function loadContainers(
  module: string | undefined,
  engine: OptimizerEngine,
): Promise<Containers> {
  const containers = new Map<string, OptimizerContainer>([
    ['local', new LocalContainer(engine)],
    ['external', externalContainer],
  ]);
  if (module === undefined) return containers;
  const loaded: unknown = await import(pathToFileURL(resolve(module)).href);
  const own = (loaded as { readonly containers?: unknown }).containers;
  if (typeof own !== 'object' || own === null) {
    throw new Error(`STEWARD_CONTAINERS: ${module} must export containers, an object of containers by name`);
  }
  for (const [name, container] of Object.entries(own)) {
    const { request, release, supportsAutoRestart, onNodes } = container as Partial<OptimizerContainer>;
    if (
      typeof request !== 'function' ||
      typeof release !== 'function' ||
      typeof supportsAutoRestart !== 'boolean' ||
      typeof onNodes !== 'boolean'
    ) {
      throw new Error(
        `STEWARD_CONTAINERS: container ${name} of ${module} needs request, release, supportsAutoRestart and onNodes`,
      );
    }
    containers.set(name, container as OptimizerContainer);
  }
  return containers;
}
