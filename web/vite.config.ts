import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// The server puts a fresh value in the place of this one into every page that it serves (rest/screens.py).
const NONCE = '__CSP_NONCE__';

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { '~': new URL('./src', import.meta.url).pathname } },
  html: { cspNonce: NONCE },
  build: {
    outDir: '../src/millrace/rest/web',
    emptyOutDir: true,
    // Fonts and pictures stay files: the policy of the pages allows no data in their place.
    assetsInlineLimit: 0,
    manifest: 'manifest.json',
    target: 'es2022',
    chunkSizeWarningLimit: 700,
    // What each screen needs is one file: a browser asks for many small ones in more time than it reads them in.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'frame', tags: ['$initial'] }] } } },
  },
  server: {
    proxy: { '/api': 'http://127.0.0.1:8484' },
  },
});
