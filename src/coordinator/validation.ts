import { Code, ConnectError } from '@connectrpc/connect';
import type { z } from 'zod';

/** The parsed value; INVALID_ARGUMENT that names each wrong field otherwise (I10). */
export function validated<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${path.join('.') || 'request'}: ${message}`,
  );
  throw new ConnectError(problems.join('; '), Code.InvalidArgument);
}
