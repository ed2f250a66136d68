// An application as its author would write it, with the package from node_modules.
import { Tidemark } from 'tidemark';
import schema from './schema.toml?raw';

const db = await Tidemark.open({ name: 'vite', schema });
window.db = db;
await db.insert('site', { name: 'собрано' });
document.querySelector('output').textContent = (await db.query('SELECT name FROM site'))[0].name;
