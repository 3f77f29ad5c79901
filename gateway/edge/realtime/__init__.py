"""OpenAI's Realtime API: sessions over WebSocket and WebRTC calls, in text and in speech.

It knows events, items and responses. What a turn is answered with, and how speech is heard and
made, is behind the desk and the call's voice.
"""
