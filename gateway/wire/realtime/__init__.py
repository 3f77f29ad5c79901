"""The events of OpenAI's Realtime API (GA), typed both ways. It knows JSON, not what is done."""
