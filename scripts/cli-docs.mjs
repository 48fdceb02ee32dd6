// Writes docs/cli.md from the built program; `npm run docs:cli` builds before.
import { readFile, writeFile } from 'node:fs/promises';
import { cliReference, commandPaths, documentNames } from '../dist/src/cli/reference.js';
import { stewardProgram } from '../dist/src/cli/run.js';

const program = stewardProgram();
const source = await readFile(new URL('../src/cli/documents.ts', import.meta.url), 'utf8');
const documents = documentNames(source, commandPaths(program));
await writeFile(new URL('../docs/cli.md', import.meta.url), cliReference(program, documents));
