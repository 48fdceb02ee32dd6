import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Containers, externalContainer, type OptimizerContainer } from '../engines/containers.js';
import { LocalContainer } from '../engines/local-container.js';
import type { OptimizerEngine } from '../engines/optimizers.js';
import { CONTAINER_NAME } from '../rules/bounds.js';

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
    if (!CONTAINER_NAME.test(name)) {
      throw new Error(
        `STEWARD_CONTAINERS: ${module} exports container ${name}: a name matches ${CONTAINER_NAME.source}`,
      );
    }
    if (containers.has(name))
      throw new Error(
        `STEWARD_CONTAINERS: ${module} must not export a container ${name}: it is there already`,
      );
    const { request, release, supportsAutoRestart, startsOptimizers, onNodes } = (container ??
      {}) as Partial<OptimizerContainer>;
    if (
      typeof request !== 'function' ||
      typeof release !== 'function' ||
      typeof supportsAutoRestart !== 'boolean' ||
      typeof startsOptimizers !== 'boolean' ||
      typeof onNodes !== 'boolean'
    ) {
      throw new Error(
        `STEWARD_CONTAINERS: container ${name} of ${module} needs request, release, supportsAutoRestart, startsOptimizers and onNodes`,
      );
    }
    containers.set(name, container as OptimizerContainer);
  }
  return containers;
}
