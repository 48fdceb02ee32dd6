// Lets `npx steward` run from the checkout at once: npm links the bin of dependencies, not of the package itself.
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const binDirectory = fileURLToPath(new URL('../node_modules/.bin/', import.meta.url));
mkdirSync(binDirectory, { recursive: true });
rmSync(`${binDirectory}steward`, { force: true });
symlinkSync('../../bin/steward.js', `${binDirectory}steward`);
