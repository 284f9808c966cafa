#include "report/style.h"

namespace kvpareto {

// Colours have one meaning on the whole page: blue is the front and what is recommended, vermilion is broken, ink is
// the baseline, grey is the rest (Okabe and Ito's pair, told apart with every common colour blindness).
const char* const kStyle = R"css(
:root{color-scheme:light dark;
--paper:#fff;--raised:#f6f7f8;--ink:#171b20;--soft:#525c66;--faint:#7b8590;--rule:#d5dade;--grid:#eceef0;
--blue:#0063ab;--blue-wash:#e4eff8;--dot:#b3bbc3;--broken:#c2480a;--wash:#fdf2ec;--strip:#f3f4f6;
--h0:#f1f6fa;--h1:#dceaf5;--h2:#bfd9ec;--h3:#98c2e0;--h4:#69a5d0;--h5:#3a84bb;
--x0:#f9c9ae;--x1:#ee9b70;--x2:#d96a35;--x3:#a93d0c;--on-light:#171b20;--on-dark:#fff;--hatch:rgba(90,30,0,.28);
--weights:#c3cad1;--kv:#3a84bb;--scratch:#e2b04a;--logits:#4fa58a;--keys:#00795e;--values:#9a4f8c}
@media (prefers-color-scheme:dark){:root{
--paper:#121518;--raised:#1b1f24;--ink:#e9ecef;--soft:#a9b3bd;--faint:#7f8a95;--rule:#353c44;--grid:#22272d;
--blue:#62b1ee;--blue-wash:#172938;--dot:#5d6873;--broken:#f48a55;--wash:#241913;--strip:#1a1e23;
--h0:#17212a;--h1:#1a2f41;--h2:#1d405b;--h3:#205377;--h4:#256a98;--h5:#3585bc;
--x0:#4d2c1c;--x1:#733c1d;--x2:#9e4a1b;--x3:#c9591a;--on-light:#e9ecef;--on-dark:#fff;--hatch:rgba(255,225,205,.2);
--weights:#4a545e;--kv:#3f90cb;--scratch:#c9973a;--logits:#4aa186;--keys:#35b894;--values:#d08cc2}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 -apple-system,BlinkMacSystemFont,"Segoe UI",Inter,Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;font-feature-settings:"tnum" 1}
main{max-width:1136px;margin:0 auto;padding:56px 40px 96px}
p{margin:0 0 12px}figure{margin:0}
.text,.lead{max-width:68ch}
.eyebrow{margin:0 0 20px;color:var(--soft);font-size:14px}
.eyebrow b{color:var(--ink);font-weight:600}
h1{margin:0 0 12px;max-width:27em;font-size:34px;line-height:1.2;font-weight:650;letter-spacing:-.021em;text-wrap:balance}
h1 em{font-style:normal;color:var(--blue)}
h1 .bad{color:var(--broken)}
h1 .pm{color:var(--soft);font-weight:450}
h1 .nb,.nb{white-space:nowrap}
.sub{margin:0 0 36px;color:var(--soft);max-width:68ch}
h2{margin:0 0 8px;font-size:22px;line-height:1.3;font-weight:650;letter-spacing:-.012em}
h3{margin:32px 0 8px;font-size:16px;font-weight:650}
section{margin-top:76px}
.lead{color:var(--soft)}
.lead strong{color:var(--broken);font-weight:600}
.note{margin:14px 0 0;max-width:78ch;color:var(--faint);font-size:13px;line-height:1.5}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));gap:24px;margin:0 0 36px;padding:0}
.numbers div{border-top:1px solid var(--rule);padding-top:12px}
.numbers dt{color:var(--soft);font-size:13px}
.numbers dd{margin:2px 0 0}
.numbers .big{font-size:25px;line-height:1.25;font-weight:600;letter-spacing:-.015em;white-space:nowrap}
.numbers .big small{font-size:14px;font-weight:400;color:var(--soft);letter-spacing:0}
.numbers .than{color:var(--soft);font-size:13px;line-height:1.45}
.command{display:flex;align-items:flex-start;gap:12px;background:var(--raised);border-radius:8px;padding:14px 16px}
.command pre{margin:0;flex:1;min-width:0;max-width:100%;overflow-x:auto;font-size:14px;line-height:1.6}
.command-name{margin:0 0 8px;color:var(--soft);font-size:13px}
button{font:inherit;font-size:13px;color:var(--soft);background:none;border:1px solid var(--rule);border-radius:6px;padding:2px 10px;cursor:pointer}
button:hover{color:var(--ink);border-color:var(--faint)}
button[aria-pressed=true]{color:var(--blue);border-color:var(--blue);background:var(--blue-wash)}
button:focus-visible,th button:focus-visible{outline:2px solid var(--blue);outline-offset:2px}
.choices{margin:28px 0 0;width:auto;font-size:14px}
.choices caption{text-align:left;color:var(--soft);font-size:13px;padding-bottom:6px}
table.choices td{color:var(--ink);padding:5px 28px 5px 0}table.choices td:nth-child(2){text-align:left;font-weight:600}
table.choices td:first-child{padding-left:0;color:var(--soft)}table.choices tr.best td{background:none}table.choices tr.best td:nth-child(2){color:var(--blue)}
.script{display:none}
.js .script{display:flex}
.filters{flex-wrap:wrap;align-items:center;gap:6px;margin:4px 0 20px;font-size:13px;color:var(--soft)}
.filters span{margin:0 4px 0 12px}
.filters span:first-child{margin-left:0}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:10px 0 0;color:var(--soft);font-size:13px}
.legend+.panels{margin-top:16px}
.key{display:inline-flex;align-items:center;gap:7px}
.key i{width:10px;height:10px;border-radius:2px}
.key i.k-front{border-radius:50%;background:var(--blue)}
.key i.k-grey{border-radius:50%;background:var(--dot);width:7px;height:7px}
.key i.k-broken{border-radius:50%;border:2px solid var(--broken)}
.key i.k-base{background:var(--ink);border-radius:0;width:9px;height:9px;transform:rotate(45deg)}
.key i.k-bar{width:2px;height:14px;border-radius:0;background:var(--blue);opacity:.6}
.key i.p-weights{background:var(--weights)}.key i.p-kv{background:var(--kv)}
.key i.p-scratch{background:var(--scratch)}.key i.p-logits{background:var(--logits)}
.panels{display:flex;flex-wrap:wrap;gap:32px 24px;margin-top:20px}
.ramp{margin-top:20px}
svg.chart{display:block;max-width:100%;height:auto;overflow:visible}
.wide svg,.medium svg,.narrow svg{width:100%}
.medium,.narrow{display:none}
svg text{fill:var(--ink);font-size:12px}
.axis{fill:var(--soft)}svg .axis{fill:var(--soft)}svg .faint{fill:var(--faint)}
svg .strong{fill:var(--ink);font-weight:600;font-size:13px}
svg .axis-name{font-size:13px;font-weight:600}
svg .axis-unit{fill:var(--faint)}
.grid{stroke:var(--grid);stroke-width:1}.tick{stroke:var(--faint);stroke-width:1}.tick.minor{opacity:.6}
.zone{fill:var(--wash)}.limit{stroke:var(--broken);stroke-width:1;stroke-dasharray:5 4;opacity:.8}
svg .zone-name,svg .zone-text{paint-order:stroke;stroke:var(--wash);stroke-width:4px;stroke-linejoin:round}svg .zone-name{fill:var(--broken);font-size:13px;font-weight:600}svg .zone-text{fill:var(--broken)}
.strip{fill:var(--strip)}
.staircase{fill:none;stroke:var(--blue);stroke-width:1.5;stroke-linejoin:round;opacity:.75}
.dot{fill:var(--dot)}
.front .dot{fill:var(--blue);stroke:var(--paper);stroke-width:1}
.front.broken .dot{fill:var(--paper);stroke:var(--broken);stroke-width:2}
.mark .dot.baseline{fill:var(--ink);stroke:var(--paper);stroke-width:1}
.ring{fill:none;stroke:var(--blue);stroke-width:1.5}
.bar{stroke:var(--dot);stroke-width:1.25;opacity:.7}
.front .bar{stroke:var(--blue);stroke-width:1.5;opacity:.6}.front.broken .bar{stroke:var(--broken)}
svg .label{font-size:11.5px;fill:var(--soft);paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .label.best{font-size:13.5px;font-weight:650;fill:var(--blue)}
svg .label.base{font-size:13.5px;font-weight:650;fill:var(--ink)}
.leader{stroke:var(--faint);stroke-width:1}
.mark{cursor:default;transition:opacity .12s}
.off{opacity:.07}tr.off{display:none}
.mark.hot .dot,.mark.hot .trend-dot,.mark.hot .share-dot{stroke:var(--ink);stroke-width:2}
.mark.hot .cell{stroke:var(--ink);stroke-width:2}
svg .panel-name{font-size:14px;font-weight:600}svg .panel-name.best{fill:var(--blue)}
svg .panel-note{fill:var(--soft)}
.h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}.h4{fill:var(--h4)}.h5{fill:var(--h5)}
.x0{fill:var(--x0)}.x1{fill:var(--x1)}.x2{fill:var(--x2)}.x3{fill:var(--x3)}
.cell.none{fill:none;stroke:var(--rule);stroke-dasharray:2 3}
.hatch{stroke:var(--hatch);stroke-width:2.4}
svg .cell-text{font-size:12px;fill:var(--on-light)}
.cell-front{fill:var(--on-light)}
svg .th5,svg .tx3{fill:var(--on-dark)}
svg .cell-text.absent{fill:var(--faint)}
.cell-best{fill:none;stroke:var(--ink);stroke-width:2.5}
.limit-mark{stroke:var(--broken);stroke-width:1.5}
path.p-weights{fill:var(--weights)}path.p-kv{fill:var(--kv)}path.p-scratch{fill:var(--scratch)}path.p-logits{fill:var(--logits)}
.area path{stroke:var(--paper);stroke-width:.75}
.ceiling{fill:none;stroke:var(--ink);stroke-width:1.25;stroke-dasharray:4 3}
svg .value{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px}svg .value.best{fill:var(--blue)}
.studied{stroke:var(--ink);stroke-width:1;opacity:.55}.studied-dot{fill:var(--ink)}
.trend{fill:none;stroke:var(--dot);stroke-width:1.5}.trend.best{stroke:var(--blue);stroke-width:2.25}.trend.base{stroke:var(--ink);stroke-width:2}
.trend-dot{fill:var(--dot);stroke:var(--paper);stroke-width:1}.trend-dot.best{fill:var(--blue)}.trend-dot.base{fill:var(--ink)}
svg .trend-name{fill:var(--faint)}svg .trend-name.best,svg .row-name.best,svg .value-at.best{fill:var(--blue);font-weight:650}
svg .trend-name.base,svg .row-name.base{fill:var(--ink);font-weight:650}
svg .row-name{fill:var(--soft)}svg .value-at{fill:var(--soft)}
.whisker{stroke:var(--dot);stroke-width:2}.share-dot{fill:var(--faint)}.share-dot.best{fill:var(--blue)}.share-dot.base{fill:var(--ink)}
.broken .share-dot{fill:var(--paper);stroke:var(--broken);stroke-width:2}
.side-k{--side:var(--keys)}.side-v{--side:var(--values)}
.bits{fill:var(--side)}.b0{fill-opacity:.13}.b1{fill-opacity:.26}.b2{fill-opacity:.42}.b3{fill-opacity:.6}
.trail{fill:none;stroke:var(--side);stroke-width:1.25;opacity:.4}.trail.s1{stroke-dasharray:3 2}.trail.s2{stroke-dasharray:1 3}
.probe{fill:var(--side);stroke:var(--paper);stroke-width:1}.probe.s1{fill:var(--paper);stroke:var(--side);stroke-width:1.75}
.probe.s2{fill:var(--dot);stroke:var(--side);stroke-width:1.5}.probe-bar{stroke:var(--side);stroke-width:1.5;opacity:.55}
svg .times{fill:var(--side);font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.mark:hover .probe{stroke:var(--ink);stroke-width:2}
.key i.probe-key{width:10px;height:10px;border-radius:50%;background:var(--side)}
.key i.probe-key.s1{background:none;border:2px solid var(--side)}.key i.probe-key.s2{background:var(--dot);border:2px solid var(--side)}
.scroll{overflow-x:auto;margin:16px 0 0}
table{border-collapse:collapse;width:100%;font-size:12.5px;line-height:1.35}
td .pm{color:var(--faint);font-size:11.5px}
th,td{padding:6px;text-align:right;white-space:nowrap;vertical-align:baseline}
th:first-child,td:first-child{text-align:left;padding-left:6px;position:sticky;left:0;background:var(--paper)}
thead th{white-space:normal;min-width:50px;line-height:1.25;color:var(--soft);font-weight:500;border-bottom:1px solid var(--rule);vertical-align:bottom}
thead small{display:block;color:var(--faint);font-size:11px;font-weight:400;min-height:1.35em}
th button{border:0;padding:0;color:inherit;font-weight:inherit;text-align:inherit;border-radius:2px}
th[aria-sort] button{color:var(--blue)}
th[aria-sort=ascending] button::after{content:" ↑"}th[aria-sort=descending] button::after{content:" ↓"}
thead th:nth-child(n+4){max-width:84px}
tbody td{border-bottom:1px solid var(--grid);color:var(--faint)}
tbody tr.front td{color:var(--ink)}
tbody tr.front td:first-child{font-weight:600}
tbody tr.base td{color:var(--ink)}
tbody tr.best td{background:var(--blue-wash)}
tbody tr.hot td{background:var(--raised)}
tbody tr td.over{color:var(--broken)}
td i{display:inline-block;width:8px;height:8px;border-radius:50%;margin-right:9px;vertical-align:.5px}
td small{margin-left:7px;color:var(--soft);font-weight:400}
tr.front td i{background:var(--blue)}tr.front.broken td i{background:none;box-shadow:inset 0 0 0 2px var(--broken)}
tr.base td i{background:var(--ink);border-radius:0;transform:rotate(45deg) scale(.9)}
table.failures td:first-child{width:1%;padding-right:24px;white-space:nowrap}
table.failures td{text-align:left;white-space:normal;color:var(--ink)}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:6px 28px;margin:20px 0 0;font-size:14px}
.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
.glossary{columns:2;column-gap:48px;font-size:14px;margin:12px 0 0}
.glossary div{break-inside:avoid;padding:0 0 10px}
.glossary dt{font-weight:600}.glossary dt span{font-weight:400;color:var(--faint)}.glossary dd{margin:0;color:var(--soft)}
ul.caveats{margin:12px 0 0;padding-left:1.1em;max-width:72ch}
ul.caveats li{margin-bottom:8px;padding-left:4px}ul.caveats li::marker{color:var(--faint)}
footer{margin-top:76px;border-top:1px solid var(--rule);padding-top:16px;color:var(--faint);font-size:13px}
#tip{position:fixed;z-index:9;pointer-events:none;max-width:340px;background:var(--paper);color:var(--ink);border:1px solid var(--rule);
border-radius:8px;box-shadow:0 6px 24px rgba(0,0,0,.16);padding:10px 13px;font-size:12.5px;line-height:1.5;visibility:hidden}
#tip b{display:block;margin-bottom:3px;font-weight:650}
#tip div{display:flex;justify-content:space-between;gap:20px}
#tip span{color:var(--soft)}#tip em{font-style:normal}
#tip div>:last-child{text-align:right}
@media (max-width:1135px){.wide{display:none}.medium{display:block}main{padding:44px 32px 80px}h1{font-size:30px}}
@media (max-width:639px){.medium{display:none}.narrow{display:block;max-width:480px}main{padding:28px 20px 64px}
h1{font-size:25px}h1 em.nb{white-space:normal;overflow-wrap:anywhere}table.choices td:nth-child(2){white-space:normal;overflow-wrap:anywhere}section{margin-top:56px}.glossary{columns:1}.numbers{grid-template-columns:1fr 1fr;gap:20px 16px}
.numbers .big{font-size:21px}table.choices td{padding-right:10px;font-size:13px}table.choices td:nth-child(3){display:none}.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:10px}.command{flex-direction:column}}
@media print{:root{color-scheme:light;--paper:#fff;--raised:#f6f7f8;--ink:#000;--soft:#444;--faint:#666;--rule:#ccc;--grid:#eee;
--blue:#0063ab;--blue-wash:#e4eff8;--dot:#b3bbc3;--broken:#c2480a;--wash:#fdf2ec;--strip:#f3f4f6;
--h0:#f1f6fa;--h1:#dceaf5;--h2:#bfd9ec;--h3:#98c2e0;--h4:#69a5d0;--h5:#3a84bb;--x0:#f9c9ae;--x1:#ee9b70;--x2:#d96a35;--x3:#a93d0c;
--on-light:#171b20;--on-dark:#fff;--hatch:rgba(90,30,0,.28);--weights:#c3cad1;--kv:#3a84bb;--scratch:#e2b04a;--logits:#4fa58a;--keys:#00795e;--values:#9a4f8c}
body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}section{margin-top:36px}.wide,.narrow,.js .script{display:none}.medium{display:block}
svg,.numbers,.command,tr,.glossary div{break-inside:avoid}h2,h3{break-after:avoid}
thead{display:table-row-group}.scroll{overflow:visible}th:first-child,td:first-child{position:static}.medium svg{max-height:430px}table{font-size:7.5pt}th,td{padding:3px 4px}#tip{display:none}}
)css";

// Everything is in the page already; the script moves the browser's own tooltips into one that can be read at leisure,
// lights up the same point in every chart and in the table, and filters and sorts.
const char* const kScript = R"js(
(function () {
  'use strict';
  var root = document.documentElement, all = function (q) { return Array.prototype.slice.call(document.querySelectorAll(q)); };
  root.classList.add('js');
  var tip = document.createElement('div');
  tip.id = 'tip';
  document.body.appendChild(tip);
  all('svg title').forEach(function (t) {
    t.parentNode.setAttribute('data-tip', t.textContent);
    t.parentNode.removeChild(t);
  });
  function fill(text) {
    tip.textContent = '';
    text.split('\n').forEach(function (line, n) {
      var parts = line.split('\t'), row = document.createElement(n ? 'div' : 'b');
      if (!n) row.textContent = line;
      else parts.forEach(function (p) { var s = document.createElement(s0(row)); s.textContent = p; row.appendChild(s); });
      tip.appendChild(row);
    });
  }
  function s0(row) { return row.firstChild ? 'em' : 'span'; }
  function place(e) {
    var w = tip.offsetWidth, h = tip.offsetHeight, x = e.clientX + 16, y = e.clientY + 16;
    if (x + w > window.innerWidth - 8) x = Math.max(8, e.clientX - w - 16);
    if (y + h > window.innerHeight - 8) y = Math.max(8, window.innerHeight - h - 8);
    tip.style.left = x + 'px';
    tip.style.top = y + 'px';
  }
  var lit = null;
  function light(p) {
    if (p === lit) return;
    all('.hot').forEach(function (n) { n.classList.remove('hot'); });
    if (p !== null) all('[data-p="' + p + '"]').forEach(function (n) { n.classList.add('hot'); });
    lit = p;
  }
  document.addEventListener('pointerover', function (e) {
    var t = e.target.closest ? e.target.closest('[data-tip]') : null, p = e.target.closest ? e.target.closest('[data-p]') : null;
    light(p ? p.getAttribute('data-p') : null);
    if (!t) { tip.style.visibility = 'hidden'; return; }
    fill(t.getAttribute('data-tip'));
    tip.style.visibility = 'visible';
    place(e);
  });
  document.addEventListener('pointermove', function (e) { if (tip.style.visibility === 'visible') place(e); });
  window.addEventListener('scroll', function () { tip.style.visibility = 'hidden'; }, { passive: true });
  var wanted = { front: '', chunk: '' };
  all('button[data-filter]').forEach(function (b) {
    b.addEventListener('click', function () {
      var f = b.getAttribute('data-filter');
      wanted[f] = b.getAttribute('data-value');
      all('button[data-filter="' + f + '"]').forEach(function (o) {
        o.setAttribute('aria-pressed', String(o.getAttribute('data-value') === wanted[f]));
      });
      all('[data-front]').forEach(function (n) {
        var off = !n.hasAttribute('data-keep') && Object.keys(wanted).some(function (k) { return wanted[k] !== '' && n.getAttribute('data-' + k) !== wanted[k]; });
        n.classList.toggle('off', off);
      });
    });
  });
  all('table.sortable th').forEach(function (th) {
    var name = th.firstChild, button = document.createElement('button');
    button.type = 'button';
    th.replaceChild(button, name);
    button.appendChild(name);
    button.addEventListener('click', function () {
      var table = th.closest('table'), body = table.tBodies[0], column = th.cellIndex;
      var down = th.getAttribute('aria-sort') === 'ascending', sign = down ? -1 : 1;
      Array.prototype.forEach.call(table.querySelectorAll('th'), function (o) { o.removeAttribute('aria-sort'); });
      th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      var key = function (row) { var v = row.cells[column].getAttribute('data-v'); return v === null ? null : v; };
      Array.prototype.slice.call(body.rows).sort(function (a, b) {
        var x = key(a), y = key(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
      }).forEach(function (row) { body.appendChild(row); });
    });
  });
  all('button[data-copy]').forEach(function (b) {
    b.addEventListener('click', function () {
      var text = b.parentNode.querySelector('pre').textContent;
      if (!navigator.clipboard) return;
      navigator.clipboard.writeText(text).then(function () {
        b.textContent = 'copied';
        setTimeout(function () { b.textContent = 'copy'; }, 1500);
      });
    });
  });
})();
)js";

}  // namespace kvpareto
