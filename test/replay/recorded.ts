import { fileURLToPath } from 'node:url';

/** Where recorded histories are: `<workflow type>.<what happened>.json`. */
export const HISTORIES = fileURLToPath(new URL('./histories', import.meta.url));
