import type { TaskGroupSource } from '../../operation.js';
import { openParquet } from './parquet-source.js';
import { openRate } from './rate-source.js';
import type { Source, SourceContext } from './source.js';
import { openText } from './text-source.js';

/** The source that a task group names; nothing is read before it is planned. */
export function openSource(source: TaskGroupSource, context: SourceContext): Source {
  if (source.kind === 'rate') return openRate(source, context);
  if (source.format === 'parquet') return openParquet(source.paths, context);
  return openText(source.paths, source.format, context);
}
