"""The training data: a seeded grammar of subscriber-care dialogues.

`phrasing` expands patterns, `spoken` says numbers and durations, `places` names countries, `noise`
makes text look typed or transcribed, `scene` holds one dialogue under construction, `form` plays
slot filling; one module per intent family, with `indirect` for those who only tell their trouble;
`chatter` adds small talk, `outside_domains` other subjects, `refusals` what is refused, `trouble`
what is said of a failure; `mix` joins them into an endless stream of dialogues.
"""
