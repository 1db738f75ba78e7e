// Small comforts; every page works without them.
'use strict';

// Addresses as this browser knows the server, which a proxy may hide from the server itself.
for (const place of document.querySelectorAll('[data-origin]')) {
  place.textContent = place.textContent.replaceAll(place.dataset.origin, location.origin);
}

// A copied key often has white space around it.
for (const field of document.querySelectorAll('input[type=text]')) {
  field.addEventListener('change', () => { field.value = field.value.trim(); });
}

// Without a secure context there is no clipboard interface, but a selection can still be copied.
async function copy(source) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  }
  const range = document.createRange();
  range.selectNodeContents(source);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return document.execCommand('copy');
}

for (const source of document.querySelectorAll('[data-copy]')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', 'Copy ' + source.dataset.copy);
  button.addEventListener('click', async () => {
    let done = false;
    // A browser may refuse; the text stays selectable.
    try { done = await copy(source); } catch { done = false; }
    button.textContent = done ? 'Copied' : 'Select it by hand';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  source.insertAdjacentElement('afterend', button);
}
