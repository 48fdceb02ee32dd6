// Prints, when the process ends, which packages it has loaded.
process.on('exit', () => {
  const found = Object.keys(require.cache).flatMap(
    (file) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? [],
  );
  process.stderr.write(`LOADED ${JSON.stringify([...new Set(found)])}\n`);
});
