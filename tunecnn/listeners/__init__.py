"""Who is called while a run goes on."""
