// As docs/BROWSER.md says.
export default { optimizeDeps: { exclude: ['tidemark'] }, worker: { format: 'es' } };
