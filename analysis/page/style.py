"""The look of the page, which loads nothing from elsewhere."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --line: #d0d0d0; --card: #f5f6f8; --paper: #fff;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a9adb3; --line: #43474d; --card: #22252a;
  --paper: #1a1a1a; --accent: #6bbcf0; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 0 auto; padding: 1rem 1.25rem 4rem;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: .5rem 0 0; } h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; } p { margin: 0 0 .5rem; max-width: 48rem; }
a { color: var(--accent); } nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0 1rem; }
.note, figcaption { color: var(--soft); font-size: .875rem; max-width: 60rem; }
.summary { background: var(--card); border-radius: .5rem; padding: 1rem 1.25rem; margin: 0 0 1rem; }
.summary dl { display: grid; gap: 1rem 3rem; margin: 0; } .summary dl > div { min-width: 0; }
.summary dt { color: var(--soft); font-size: .875rem; } .summary dd { margin: 0; }
@media (min-width: 64rem) {
  .summary dl:has(.best) { grid-template-columns: 1fr minmax(0, 30rem); grid-template-rows: auto auto 1fr; }
  .summary .best { grid-column: 2; grid-row: 1 / span 3; } }
.verdict p:first-child { font-size: 1.15rem; font-weight: 600; }
figure { margin: 0 0 2.5rem; } figcaption { margin-top: .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; } th { font-weight: 600; }
thead th { vertical-align: bottom; max-width: 8rem; }
tbody th, thead th:first-child { text-align: left; padding-left: 0; }
tbody th { min-width: 7rem; font-weight: 400; } td span { white-space: nowrap; }
thead { border-top: 2px solid var(--ink); border-bottom: 1px solid var(--ink); }
tbody { border-bottom: 2px solid var(--ink); } tbody tr + tr { border-top: 1px solid var(--line); }
td a { color: inherit; text-decoration: underline dotted var(--soft); text-underline-offset: .2em; }
.figures { columns: 2 30rem; column-gap: 2.5rem; } .figures figure { break-inside: avoid; }
img { display: block; width: 100%; height: auto; } .figures img { max-width: 36rem; }
@media (prefers-color-scheme: dark) { .drawn img { filter: invert(.9) hue-rotate(180deg); }
  .photographs img { background: #fff; padding: .5rem; border-radius: .25rem; } }
code, pre { font-size: .8rem; font-family: ui-monospace, monospace; }
pre { background: var(--card); padding: .6rem; margin: .25rem 0; white-space: pre-wrap; border-radius: .25rem; }
code, pre span, .summary p span { display: inline-block; max-width: 100%; }
summary { cursor: pointer; } details.note { margin: 1rem 0; }
.run:has(:target) { outline: 2px solid var(--accent); outline-offset: .3rem; }
.run { margin: 0 0 1rem; } .run p { margin: 0; }
.wide img { min-width: 56rem; }
@media (max-width: 48rem) {
  .stacked, .stacked tbody, .stacked tr, .stacked th, .stacked td { display: block; }
  .stacked thead { display: none; } .stacked tbody { border: 0; } .stacked tr + tr { border: 0; }
  .stacked tbody th { font-weight: 600; padding: .75rem 0 .25rem; border-bottom: 1px solid var(--ink); }
  .stacked td { display: flex; justify-content: space-between; gap: 1rem; padding: .15rem 0; }
  .stacked td::before { content: attr(data-heading); color: var(--soft); } .stacked td.missing { display: none; } }
"""
