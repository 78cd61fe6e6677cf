"""What people read: Markdown, HTML, JSON and pictures."""
