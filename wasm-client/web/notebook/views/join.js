/** Joining the server with a code: typed, pasted, or carried by the page's address as `#join=CODE`. */
import { tellFailure } from '../failure.js';
import { t } from '../i18n/index.js';
import { recall, remember } from '../settings.js';
import { toast } from './toast.js';

/** Takes the code out of the address, so that it stays in no history and no screenshot. */
export function codeFromAddress() {
  const match = /^#join=([^&]+)/.exec(location.hash);
  if (!match) return null;
  history.replaceState(history.state, '', location.pathname + location.search);
  try {
    return decodeURIComponent(match[1]).trim();
  } catch {
    return match[1].trim();
  }
}

export function joinView({ db, onCode }) {
  const $ = id => document.getElementById(id);
  const field = $('join-code');
  let station = null;

  async function join() {
    const code = field.value.trim();
    if (code === '') {
      $('join-error').textContent = t('join.empty');
      return field.focus();
    }
    if ($('join-button').getAttribute('aria-disabled')) return undefined;
    $('join-button').setAttribute('aria-disabled', 'true');
    $('join-button').textContent = t('join.busy');
    $('join-error').textContent = '';
    try {
      const joined = await db.join(code);
      field.value = '';
      remember('join', null);
      toast(t('join.done', joined));
      $('device-title').focus();
    } catch (error) {
      tellFailure($('join-error'), error);
    } finally {
      $('join-button').removeAttribute('aria-disabled');
      $('join-button').textContent = t('join.button');
    }
    return undefined;
  }

  /** A code from the address waits in the field for one touch: a link alone joins nothing. */
  function offer(code) {
    if (code === null) return;
    if (station) return toast(t('join.again', { name: station.name }));
    field.value = code;
    // What was said of another code is not said of this one.
    $('join-error').replaceChildren();
    remember('join', code);
    onCode();
    return $('join-button').focus();
  }

  $('join-form').addEventListener('submit', event => { event.preventDefault(); void join(); });
  field.addEventListener('input', () => $('join-error').replaceChildren());
  addEventListener('hashchange', () => offer(codeFromAddress()));
  field.value = recall('join') ?? '';

  return {
    offer,
    show(status) {
      // A device whose access was taken away takes a new one with a code, under the number it has.
      const takesCode = status.station === null || ['not-joined', 'revoked'].includes(status.sync.stop?.kind);
      station = takesCode ? null : status.station;
      $('device-join').hidden = !takesCode;
    },
  };
}
