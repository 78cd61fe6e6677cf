"""A file with a network of somebody's own, as it would be searched."""

NETS = """
from torch import nn

class Small(nn.Module):
    def __init__(self, input_shape, classes, width: int = 4, norm: bool = True):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 3, padding=1),
            nn.BatchNorm2d(width) if norm else nn.Identity(),
            nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, classes),
        )
    def forward(self, images):
        return self.net(images)
"""
