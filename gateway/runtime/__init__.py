"""asyncio plumbing without domain words: supervised tasks, bounded channels, lifecycle."""
